// A minimal browser: a cookie jar, redirects, and a user who fills in the IdP's forms.

const MAX_PAGES = 10

export class Browser {
  passwordsAsked = 0
  #cookies = new Map()

  constructor(username, password) {
    Object.assign(this, { username, password })
  }

  // Follows redirects from `url` to an address that begins with `target`. Returns the request that would reach it:
  // a URL, or a Request with a form. openid-client accepts either.
  async walk(url, target) {
    let next = { url: new URL(url) }
    for (let page = 0; page < MAX_PAGES; page++) {
      if (next.url.href.startsWith(target)) return next.form ? new Request(next.url, asPost(next.form)) : next.url
      next = await this.#visit(next)
    }
    throw new Error(`${MAX_PAGES} pages, and none led to ${target}`)
  }

  async #visit({ url, form }) {
    const cookie = [...this.#cookies].map((pair) => pair.join('=')).join('; ')
    const answer = await fetch(url, { ...(form && asPost(form)), headers: { cookie }, redirect: 'manual' })
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)
      this.#cookies.set(name, value)
    }
    const location = answer.headers.get('location')
    return location ? { url: new URL(location, url) } : this.#fillIn(await answer.text(), url)
  }

  // The page's only form, sent by a user who enters the password and consents.
  #fillIn(html, url) {
    const action = /<form[^>]* action="([^"]*)"/.exec(html)
    if (!action) throw new Error(`no form on ${url}: ${html.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')}`)
    const form = new URLSearchParams()
    for (const [, attributes] of html.matchAll(/<input([^>]*)>/g)) {
      form.set(attribute(attributes, 'name'), attribute(attributes, 'value'))
    }
    if (html.includes('value="allow"')) form.set('answer', 'allow')
    if (form.has('password')) {
      this.passwordsAsked++
      form.set('username', this.username)
      form.set('password', this.password)
    }
    return { url: new URL(unescape(action[1]), url), form }
  }
}

const asPost = (form) => ({ method: 'POST', body: new URLSearchParams(form) })
const attribute = (attributes, name) => unescape(new RegExp(` ${name}="([^"]*)"`).exec(attributes)?.[1] ?? '')
const unescape = (text) =>
  text
    .replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code))
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
