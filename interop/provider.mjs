// A temporary IdP: a new process, a free port, temporary data.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const START_SECONDS = 60 // enough for a busy machine

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  await new Promise((closed) => probe.close(closed))
  return port
}

// Starts it and waits until it is healthy. Returns its issuer, its secrets, and a function that stops it.
export async function startProvider() {
  const folder = mkdtempSync(join(tmpdir(), 'pickup-interop-'))
  const log = join(folder, 'idp.log')
  const listen = `127.0.0.1:${await freePort()}`
  const secret = () => crypto.randomUUID()
  const provider = { issuer: `http://${listen}`, password: secret(), registrationToken: secret() }
  const settings = {
    LISTEN: listen,
    IDP_URL: provider.issuer,
    DATA_DIR: folder,
    DEMO_PLAIN_HTTP: 'true',
    DEMO_PRIVATE_ADDRESSES: 'true', // the back-channel listener of this run
    DEMO_PASSWORD: provider.password,
    REGISTRATION_TOKEN: provider.registrationToken,
    SECRET_KEY: secret(),
    DISPATCH_CLIENT_SECRET: secret(),
    MANAGER_CLIENT_SECRET: secret(),
  }
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('PICKUP_'))
  const ours = Object.entries(settings).map(([name, value]) => [`PICKUP_${name}`, value])
  const output = openSync(log, 'a')
  const child = spawn('.venv/bin/gunicorn', ['-c', 'gunicorn.conf.py', 'idp:create_app()'], {
    env: Object.fromEntries([...others, ...ours]),
    stdio: ['ignore', output, output],
    detached: true, // one process group for master and workers
  })
  provider.log = () => readFileSync(log, 'utf8').split('\n').slice(-30).join('\n')
  provider.stop = () => {
    if (child.exitCode === null) process.kill(-child.pid, 'SIGKILL') // no data needs to be saved
    rmSync(folder, { recursive: true, force: true })
  }
  for (const deadline = Date.now() + START_SECONDS * 1000; ; await sleep(100)) {
    if (await fetch(`${provider.issuer}/healthz`).then((answer) => answer.ok, () => false)) return provider
    if (child.exitCode !== null || Date.now() > deadline) {
      const output = provider.log()
      provider.stop()
      throw new Error(`The provider did not start:\n${output}`)
    }
  }
}
