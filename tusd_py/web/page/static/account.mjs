// A visitor who has logged in. The tokens are in cookies that no script can read; each request that changes something
// has the CSRF token besides, which is in a cookie that this script can read, and the same in every tab.
import { Refused, call } from './api.mjs'
import { text } from './texts.mjs'

// When the access token expires, in milliseconds: tabs share the cookies, so they share this too.
const KEY = 'tusd-py access token expires'
// Renewed this long before its end, so that it is valid when the request arrives.
const MARGIN_MS = 30_000

export class Account {
  storage = localStorage
  canDownload = true
  makesLinks = true
  #askAgain
  #renewing = null

  constructor(name, askAgain) {
    this.key = `account-${encodeURIComponent(name)}`
    this.description = text('logged_in', { name })
    this.#askAgain = askAgain
  }

  // Raises Refused for a wrong name or password.
  static async open(name, password, askAgain) {
    const { account, expires_in } = await call('POST', 'auth/login', { body: { name, password, cookies: true } })
    remember(expires_in)
    return new Account(account.name, askAgain)
  }

  // Whoever has logged in before in this browser; null if the session has ended.
  static async restore(askAgain) {
    if (!csrfToken()) return null
    try {
      if (isExpiring()) await renew()
      const { subject } = await call('GET', 'auth/session')
      return new Account(subject, askAgain)
    } catch (failure) {
      if (failure instanceof Refused) return null
      throw failure
    }
  }

  // For each request; waits until the tokens are renewed, or the visitor has logged in again.
  async headers() {
    if (isExpiring()) {
      this.#renewing ??= this.#renew().finally(() => (this.#renewing = null))
      await this.#renewing
    }
    return { 'X-CSRF-Token': csrfToken() }
  }

  // The server has refused the token: renew it before the next request.
  expire() {
    localStorage.setItem(KEY, 0)
    return true
  }

  async leave() {
    await call('POST', 'auth/logout', { headers: { 'X-CSRF-Token': csrfToken() } })
    localStorage.removeItem(KEY)
  }

  async #renew() {
    try {
      await renew()
    } catch (failure) {
      if (!(failure instanceof Refused)) throw failure
      // Of another person: their uploads are others.
      if ((await this.#askAgain()).key !== this.key) location.reload()
    }
  }
}

function isExpiring() {
  return Number(localStorage.getItem(KEY)) < Date.now() + MARGIN_MS
}

function remember(seconds) {
  // Never renewed for each request, however short the life of a token is.
  localStorage.setItem(KEY, Date.now() + Math.max(seconds * 1000, 2 * MARGIN_MS))
}

// A refresh token can be used once: of several tabs one renews, and the others find the new cookies.
async function renew() {
  const once = async () => {
    if (!isExpiring()) return
    const { expires_in } = await call('POST', 'auth/refresh', { headers: { 'X-CSRF-Token': csrfToken() } })
    remember(expires_in)
  }
  await (navigator.locks ? navigator.locks.request('tusd-py renews a login', once) : once())
}

function csrfToken() {
  const name = location.protocol === 'https:' ? '__Host-tusd_csrf' : 'tusd_csrf'
  const found = document.cookie.split('; ').find((cookie) => cookie.startsWith(`${name}=`))
  return found?.slice(name.length + 1) ?? ''
}
