// The list of files that this browser has uploaded: name, size and link, stored in localStorage across reloads.
// It changes nothing on the server.
import { copy } from './clipboard.mjs'

const ENTRIES_MAX = 1000
const GONE = [404, 410]

export class UploadedList {
  #key
  #entries = []

  constructor(endpoint) {
    this.#key = `tusd-py uploaded ${endpoint}`
    this.#load()
    this.#render()
    this.#removeGone()
    // Another tab of this page has added an entry or cleared the list.
    window.addEventListener('storage', (event) => {
      if (event.key === this.#key || event.key === null) {
        this.#load()
        this.#render()
      }
    })
  }

  add(entry) {
    this.#load()
    this.#store([entry, ...this.#entries.filter((other) => other.url !== entry.url)])
  }

  clear() {
    this.#store([])
  }

  #store(entries) {
    this.#entries = entries.slice(0, ENTRIES_MAX)
    try {
      localStorage.setItem(this.#key, JSON.stringify(this.#entries))
    } catch {
      // Storage is full or forbidden: the list exists until the page is closed.
    }
    this.#render()
  }

  #load() {
    try {
      this.#entries = JSON.parse(localStorage.getItem(this.#key)) ?? []
    } catch {
      // Storage is forbidden, or was not written by this page: keep the current entries.
    }
  }

  // Removes uploads that have expired or were deleted. Entries stay if the server cannot be reached.
  async #removeGone() {
    const checks = this.#entries.map(async ({ url }) => {
      const answer = await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } }).catch(() => null)
      return GONE.includes(answer?.status) ? url : null
    })
    const gone = new Set((await Promise.all(checks)).filter(Boolean))
    if (gone.size === 0) return
    this.#load()
    this.#store(this.#entries.filter(({ url }) => !gone.has(url)))
  }

  #render() {
    document.getElementById('uploaded').hidden = this.#entries.length === 0
    document.getElementById('uploaded-list').replaceChildren(...this.#entries.map(row))
  }
}

// Invisible characters that reverse the reading direction: gpj.exe would look like exe.jpg.
const REVERSING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

export function visible(name) {
  return name.replace(REVERSING, '')
}

function row({ name: declared, size, url, at }) {
  const name = visible(declared)
  const link = element('a', { href: url, download: name, textContent: name, title: name })
  const details = element('span', { className: 'details', textContent: `${bytes(size)} · ${moment(at)}` })
  const button = element('button', { type: 'button', className: 'quiet', textContent: 'Copy link' })
  button.setAttribute('aria-label', `Copy link to ${name}`)
  button.addEventListener('click', () => copy(url, button))
  const item = element('li')
  item.append(link, details, button)
  return item
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties)
}

// Powers of 1024 with short unit names, like Uppy's own.
export function bytes(count) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  const power = Math.min(units.length - 1, count > 0 ? Math.floor(Math.log2(count) / 10) : 0)
  const figure = count / 1024 ** power
  return `${figure.toLocaleString(undefined, { maximumFractionDigits: power > 0 && figure < 100 ? 1 : 0 })} ${units[power]}`
}

function moment(at) {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })
}
