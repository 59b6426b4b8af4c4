// The list of what this browser has uploaded: name, size and link, kept in localStorage so that it survives a reload.
// It shows; it never changes anything on the server.
import { copy } from './clipboard.mjs'

const REMEMBERED_MAX = 100
const GONE = [404, 410]

export class UploadedList {
  #key
  #entries = []

  constructor(endpoint) {
    this.#key = `tusd-py uploaded ${endpoint}`
    this.#load()
    this.#render()
    this.#forgetGone()
    // Another tab of this page has finished an upload or cleared the list.
    window.addEventListener('storage', (event) => {
      if (event.key === this.#key || event.key === null) {
        this.#load()
        this.#render()
      }
    })
  }

  add(entry) {
    this.#load()
    this.#keep([entry, ...this.#entries.filter((other) => other.url !== entry.url)])
  }

  clear() {
    this.#keep([])
  }

  #keep(entries) {
    this.#entries = entries.slice(0, REMEMBERED_MAX)
    try {
      localStorage.setItem(this.#key, JSON.stringify(this.#entries))
    } catch {
      // Storage is full or forbidden: the list lasts as long as the page.
    }
    this.#render()
  }

  #load() {
    try {
      this.#entries = JSON.parse(localStorage.getItem(this.#key)) ?? []
    } catch {
      // Storage is forbidden, or holds what this page did not write: keep what is shown.
    }
  }

  // A link to an upload that has expired or was removed helps nobody. An unreachable server proves nothing.
  async #forgetGone() {
    const asked = this.#entries.map(async ({ url }) => {
      const answer = await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } }).catch(() => null)
      return GONE.includes(answer?.status) ? url : null
    })
    const gone = new Set((await Promise.all(asked)).filter(Boolean))
    if (gone.size === 0) return
    this.#load()
    this.#keep(this.#entries.filter(({ url }) => !gone.has(url)))
  }

  #render() {
    document.getElementById('uploaded').hidden = this.#entries.length === 0
    document.getElementById('uploaded-list').replaceChildren(...this.#entries.map(row))
  }
}

function row({ name, size, url, at }) {
  const link = element('a', { href: url, download: name, textContent: name, title: name })
  const details = element('span', { className: 'details', textContent: `${bytes(size)} · ${moment(at)}` })
  const button = element('button', { type: 'button', className: 'quiet', textContent: 'Copy link' })
  button.setAttribute('aria-label', `Copy the link to ${name}`)
  button.addEventListener('click', () => copy(url, button))
  const item = element('li')
  item.append(link, details, button)
  return item
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties)
}

// Powers of 1024 under their short names, as Uppy shows them above the list.
function bytes(count) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  const power = Math.min(units.length - 1, count > 0 ? Math.floor(Math.log2(count) / 10) : 0)
  const figure = count / 1024 ** power
  return `${figure.toLocaleString(undefined, { maximumFractionDigits: power > 0 && figure < 100 ? 1 : 0 })} ${units[power]}`
}

function moment(at) {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })
}
