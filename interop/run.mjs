// Tests the IdP with independent client libraries: openid-client, and jose for the logout token.
// It registers itself, signs in by each flow, uses its tokens, logs out, and receives the logout token.
// Prints one line per step and stops at the first error. `make interop` (scripts/interop) runs it.

import assert from 'node:assert/strict'
import dns from 'node:dns'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { Browser } from './browser.mjs'
import { startProvider } from './provider.mjs'

const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const PATIENCE = 10_000 // milliseconds within which a logout token must arrive

const done = []
async function step(sentence, work) {
  try {
    const result = await work()
    done.push(sentence)
    console.log(`ok      ${sentence}`)
    return result
  } catch (error) {
    console.log(`FAILED  ${sentence}`)
    throw error
  }
}

// The endpoint to which the IdP posts logout tokens.
async function listen() {
  const received = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    received.push({ request, form: new URLSearchParams(body) })
    server.emit('logout')
    response.writeHead(200, { 'cache-control': 'no-store' }).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, received, url: `http://127.0.0.1:${server.address().port}` }
}

async function story(provider, app) {
  const callback = `${app.url}/callback`
  const browser = new Browser('cameron', provider.password)
  const basic = client.ClientSecretBasic()
  const options = provider.issuer.startsWith('http:') ? { execute: [client.allowInsecureRequests] } : {}

  const config = await step('discovers the provider and registers itself', async () => {
    const wishes = {
      client_name: 'Interop',
      redirect_uris: [callback],
      response_types: ['code', 'code id_token'],
      grant_types: ['authorization_code', 'implicit', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_basic',
      post_logout_redirect_uris: [`${app.url}/bye`],
      backchannel_logout_uri: `${app.url}/logout`,
      backchannel_logout_session_required: true,
    }
    const how = { ...options, initialAccessToken: provider.registrationToken }
    const config = await client.dynamicClientRegistration(new URL(provider.issuer), wishes, basic, how)
    for (const [name, value] of Object.entries(wishes)) assert.deepEqual(config.clientMetadata()[name], value, name)
    assert.equal(config.serverMetadata().backchannel_logout_supported, true)
    client.enableNonRepudiationChecks(config) // also verify ID tokens from the token endpoint
    return config
  })
  // The same client with another response type, which openid-client stores in its configuration.
  const registered = config.clientMetadata()
  const hybrid = new client.Configuration(config.serverMetadata(), registered.client_id, registered, basic)
  options.execute?.forEach((allow) => allow(hybrid))
  client.useCodeIdTokenResponseType(hybrid)

  // One sign-in; openid-client checks state, nonce, iss, c_hash, PKCE and the ID token's claims and signature.
  async function signIn(config, parameters = {}, person = browser) {
    const pkceCodeVerifier = client.randomPKCECodeVerifier()
    const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()]
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri: callback,
      scope: 'openid profile email',
      state: expectedState,
      nonce: expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      ...parameters,
    })
    const arrived = await person.walk(url, callback)
    const expected = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true }
    return { arrived, tokens: await client.authorizationCodeGrant(config, arrived, expected) }
  }

  const first = await step('code + PKCE: signs in with the password', async () => {
    const { arrived, tokens } = await signIn(config)
    assert.ok(arrived.searchParams.has('code') && arrived.searchParams.get('iss') === provider.issuer)
    assert.equal(browser.passwordsAsked, 1)
    assert.ok(tokens.claims().sid && tokens.refresh_token)
    return tokens
  })
  const { sub, sid } = first.claims()

  await step('userinfo says who that is', async () => {
    const person = await client.fetchUserInfo(config, first.access_token, sub)
    assert.equal(person.name, 'Cameron Reyes')
    assert.ok(person.email)
  })

  const refreshed = await step('the refresh token gives new tokens, and a new refresh token', async () => {
    const tokens = await client.refreshTokenGrant(config, first.refresh_token)
    assert.notEqual(tokens.access_token, first.access_token)
    assert.notEqual(tokens.refresh_token, first.refresh_token)
    assert.equal(tokens.claims().sub, sub)
    return tokens
  })

  await step('introspection knows the access token until it is revoked', async () => {
    const before = await client.tokenIntrospection(config, refreshed.access_token)
    assert.deepEqual([before.active, before.sub, before.client_id], [true, sub, registered.client_id])
    await client.tokenRevocation(config, refreshed.access_token)
    assert.deepEqual(await client.tokenIntrospection(config, refreshed.access_token), { active: false })
  })

  await step('hybrid, code id_token: in the fragment, and without a password (single sign-on)', async () => {
    const { arrived, tokens } = await signIn(hybrid)
    const parts = new URLSearchParams(arrived.hash.slice(1))
    assert.equal(decodeJwt(parts.get('id_token')).sid, sid)
    assert.equal(tokens.claims().sid, sid)
  })

  for (const [words, configuration] of [['code', config], ['code id_token', hybrid]]) {
    await step(`form_post, ${words}: the browser posts it`, async () => {
      const { arrived, tokens } = await signIn(configuration, { response_mode: 'form_post' })
      assert.equal(arrived.method, 'POST')
      assert.equal(tokens.claims().sid, sid)
    })
  }
  assert.equal(browser.passwordsAsked, 1, 'one password for all of this')

  const last = await step('prompt=consent: says yes to a token that outlives the session', async () => {
    const { tokens } = await signIn(config, { scope: 'openid offline_access', prompt: 'consent' })
    assert.ok(tokens.refresh_token)
    return tokens
  })

  await step('prompt=none in a browser that nobody has signed in with: login_required', () =>
    assert.rejects(signIn(config, { prompt: 'none' }, new Browser('nobody', '')), { error: 'login_required' }))

  await step('RP-initiated logout leads back to the app, with its state', async () => {
    const parameters = { post_logout_redirect_uri: `${app.url}/bye`, state: client.randomState() }
    const url = client.buildEndSessionUrl(config, { id_token_hint: last.id_token, ...parameters })
    const arrived = await browser.walk(url, parameters.post_logout_redirect_uri)
    assert.equal(arrived.searchParams.get('state'), parameters.state)
  })

  await step('one logout token has come over the back channel; jose finds nothing wrong with it', async () => {
    const patience = { signal: AbortSignal.timeout(PATIENCE) }
    if (!app.received.length) await once(app.server, 'logout', patience)
    assert.equal(app.received.length, 1)
    const [{ request, form }] = app.received
    assert.deepEqual([request.method, request.url], ['POST', '/logout'])
    assert.equal(request.headers['content-type'], 'application/x-www-form-urlencoded')
    assert.deepEqual([...form.keys()], ['logout_token'])
    const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri))
    const { payload } = await jwtVerify(form.get('logout_token'), keys, {
      issuer: provider.issuer,
      audience: registered.client_id,
      typ: 'logout+jwt',
      algorithms: ['RS256'],
      requiredClaims: ['iat', 'exp', 'jti'],
      maxTokenAge: '2 minutes',
    })
    assert.deepEqual(payload.events, { [LOGOUT_EVENT]: {} })
    assert.deepEqual([payload.sub, payload.sid], [sub, sid])
    assert.ok(!('nonce' in payload))
  })

  await step('the refresh token of that session is dead', () =>
    assert.rejects(client.refreshTokenGrant(config, refreshed.refresh_token), { error: 'invalid_grant' }))
  await step('the one with offline_access is not', async () => {
    assert.ok((await client.refreshTokenGrant(config, last.refresh_token)).access_token)
  })
  await step('the next sign-in needs the password again, and has another sid', async () => {
    const { tokens } = await signIn(config)
    assert.equal(browser.passwordsAsked, 2)
    assert.notEqual(tokens.claims().sid, sid)
  })
}

// RFC 6761 §6.3: *.localhost is this machine, even if the resolver does not know it.
const lookup = dns.lookup
dns.lookup = (host, ...rest) => lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, ...rest)

const { BASE: issuer, PICKUP_DEMO_PASSWORD: password, PICKUP_REGISTRATION_TOKEN: registrationToken } = process.env
const provider = issuer ? { issuer, password, registrationToken } : await startProvider()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => (provider.stop?.(), process.exit(1)))
const app = await listen()
try {
  await story(provider, app)
} catch (error) {
  console.error(provider.log?.() ?? '')
  console.error(error, error.cause ?? '')
  process.exitCode = 1
} finally {
  provider.stop?.()
  app.server.close()
  console.log(`${done.length} passed, ${process.exitCode ?? 0} failed`)
}
