// express-openid-connect, as its documentation sets it up for back-channel logout: `node app.mjs`, settings on
// standard input as one line of JSON. Its sessions are in a store, which a logout token can reach; in the cookie it cannot.

import dns from 'node:dns'
import { createServer } from 'node:http'
import express from 'express'
import openid from 'express-openid-connect'

// RFC 6761 §6.3: *.localhost is this machine, even if the resolver does not know it.
const lookup = dns.lookup
dns.lookup = (host, ...rest) => lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, ...rest)

let input = ''
for await (const chunk of process.stdin) input += chunk
const { issuer, url, port, client_id: clientID, client_secret: clientSecret } = JSON.parse(input)

class MemoryStore {
  #entries = new Map()
  get = (id, done) => done(null, this.#entries.get(id))
  set = (id, value, done) => done(null, this.#entries.set(id, value) && undefined)
  destroy = (id, done) => done(null, this.#entries.delete(id) && undefined)
}

const { auth, requiresAuth } = openid
const app = express()
app.use(
  auth({
    issuerBaseURL: issuer,
    baseURL: url,
    clientID,
    clientSecret,
    secret: crypto.randomUUID(),
    authRequired: false,
    idpLogout: true,
    authorizationParams: { response_type: 'code', scope: 'openid profile email' },
    backchannelLogout: true,
    session: { store: new MemoryStore() },
  }),
)
app.get('/', (request, response) => response.send('<h1>A plain app</h1>'))
app.get('/profile', requiresAuth(), (request, response) => response.send(`<h1>Profile</h1>${request.oidc.user.sub}`))
createServer(app).listen(port, '127.0.0.1')
