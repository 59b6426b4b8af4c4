// A visitor who has entered an access code. Its token is short-lived and renewed while the code lives; it is kept in this
// tab, so that a reload does not ask for the code again.
import { Refused, call } from './api.mjs'
import { moment, text } from './texts.mjs'

const KEY = 'tusd-py token of an access code'
const MARGIN_MS = 30_000

export class Code {
  // Nothing stays for the next visitor at the same device.
  storage = sessionStorage
  // The bearer of a code cannot read what was uploaded.
  canDownload = false
  makesLinks = false
  #token
  #expiresAt
  #askAgain
  #renewing = null

  constructor(answer, askAgain) {
    this.#askAgain = askAgain
    this.#take(answer)
  }

  // Raises Refused for a code that is not valid, or after too many wrong ones.
  static async open(code, askAgain) {
    return new Code(await call('POST', 'codes/redeem', { body: { code } }), askAgain)
  }

  static async restore(askAgain) {
    const token = sessionStorage.getItem(KEY)
    if (!token) return null
    try {
      return new Code(await call('POST', 'codes/renew', { body: { token } }), askAgain)
    } catch (failure) {
      if (!(failure instanceof Refused)) throw failure
      sessionStorage.removeItem(KEY)
      return null
    }
  }

  async headers() {
    if (this.#expiresAt < Date.now() + MARGIN_MS) {
      this.#renewing ??= this.#renew().finally(() => (this.#renewing = null))
      await this.#renewing
    }
    return { Authorization: `Bearer ${this.#token}` }
  }

  expire() {
    this.#expiresAt = 0
    return true
  }

  async leave() {
    sessionStorage.removeItem(KEY)
  }

  async #renew() {
    try {
      this.#take(await call('POST', 'codes/renew', { body: { token: this.#token } }))
    } catch (failure) {
      if (!(failure instanceof Refused)) throw failure
      sessionStorage.removeItem(KEY)
      const next = await this.#askAgain()
      if (next.key === this.key) [this.#token, this.#expiresAt] = [next.#token, next.#expiresAt]
      else location.reload()
    }
  }

  #take({ token, expires_at, code }) {
    this.#token = token
    // Measured from the server's clock, which this device may not agree with.
    const lifeMs = Date.parse(expires_at) - Date.parse(code.expires_at) + code.remaining_seconds * 1000
    // A token that lives for less than the margin is used until its end, and not renewed for each request.
    this.#expiresAt = Date.now() + Math.max(lifeMs, 2 * MARGIN_MS)
    this.key = `code-${code.id}`
    this.description = text('code_until', { time: moment(Date.now() + code.remaining_seconds * 1000) })
    sessionStorage.setItem(KEY, token)
  }
}
