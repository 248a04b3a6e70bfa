// node oidc-provider with in-memory data: `node provider.mjs`, its settings as one line of JSON on standard input.
// It has its own development pages (sign-in with any password, consent, confirmation of a logout).

import dns from 'node:dns'
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

// RFC 6761 §6.3: *.localhost is this machine, even if the resolver does not know it.
const lookup = dns.lookup
dns.lookup = (host, ...rest) => lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, ...rest)

let input = ''
for await (const chunk of process.stdin) input += chunk
const { issuer, port, clients, people, key } = JSON.parse(input)

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: [key] },
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  features: { backchannelLogout: { enabled: true }, introspection: { enabled: true }, revocation: { enabled: true } },
  // Its own fetch refuses addresses of this machine, where the apps are.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
})
for (const event of ['server_error', 'backchannel.error', 'authorization.error', 'grant.error']) {
  provider.on(event, (...found) => console.error(event, ...found.filter((one) => one instanceof Error)))
}
createServer(provider.callback()).listen(port, '127.0.0.1')
