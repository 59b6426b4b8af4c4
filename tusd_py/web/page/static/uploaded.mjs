// The list of files that this browser has uploaded: name, size and link, stored in localStorage across reloads.
// It changes nothing on the server.
import { copy } from './clipboard.mjs'
import { bytes, moment, text, visible } from './texts.mjs'

const ENTRIES_MAX = 1000
const GONE = [404, 410]

export class UploadedList {
  #key
  #entries = []
  #older = 0
  // Entries that Uppy's Dashboard still shows: a file is listed once.
  #elsewhere = new Set()
  // Of a long list only the rows that are looked at are checked.
  #seen = new IntersectionObserver((rows) => rows.forEach((row) => row.isIntersecting && this.#check(row.target)))

  constructor(endpoint) {
    this.#key = `tusd-py uploaded ${endpoint}`
    this.#load()
    this.#render()
    for (const item of document.getElementById('uploaded-list').children) this.#seen.observe(item)
    // Another tab of this page has added an entry or cleared the list.
    window.addEventListener('storage', (event) => {
      if (event.key === this.#key || event.key === null) {
        this.#load()
        this.#render()
      }
    })
  }

  // Keeps the entry at once, and lists it after `show`.
  add(entry) {
    this.#load()
    this.#elsewhere.add(entry.url)
    const entries = [entry, ...this.#entries.filter((other) => other.url !== entry.url)]
    this.#older += Math.max(0, entries.length - ENTRIES_MAX)
    this.#store(entries.slice(0, ENTRIES_MAX))
  }

  show() {
    this.#elsewhere.clear()
    this.#render()
  }

  // Whether this file of Uppy is listed: Uppy's stored state can be older than the end of its upload.
  has(file) {
    return this.#entries.some(({ id, url, at }) => url === file.tus?.uploadUrl || (id === file.id && at >= file.chosenAt))
  }

  clear() {
    this.#older = 0
    this.#store([])
    this.#render()
  }

  #store(entries) {
    this.#entries = entries
    try {
      localStorage.setItem(this.#key, JSON.stringify(entries))
      localStorage.setItem(`${this.#key} older`, this.#older)
    } catch {
      // Storage is full or forbidden: the list exists until the page is closed.
    }
  }

  #load() {
    try {
      this.#entries = JSON.parse(localStorage.getItem(this.#key)) ?? []
      this.#older = Number(localStorage.getItem(`${this.#key} older`))
    } catch {
      // Storage is forbidden, or was not written by this page: keep the current entries.
    }
  }

  // Removes an upload that has expired or was deleted. It stays if the server cannot be reached.
  async #check(item) {
    this.#seen.unobserve(item)
    const { url } = item.dataset
    const answer = await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } }).catch(() => null)
    if (!GONE.includes(answer?.status)) return
    this.#load()
    this.#store(this.#entries.filter((entry) => entry.url !== url))
    item.remove()
    this.#count(document.getElementById('uploaded-list').childElementCount)
  }

  #render() {
    const shown = this.#entries.filter(({ url }) => !this.#elsewhere.has(url))
    document.getElementById('uploaded-list').replaceChildren(...shown.map(row))
    this.#count(shown.length)
  }

  #count(shown) {
    document.getElementById('uploaded').hidden = shown === 0
    document.getElementById('uploaded-count').textContent = shown
    document.getElementById('uploaded-older').textContent = this.#older ? text('older', { count: this.#older }) : ''
  }
}

function row({ name: declared, size, url, at }) {
  const name = visible(declared)
  const link = element('a', { href: url, download: name, textContent: name, title: name })
  const details = element('span', { className: 'details', textContent: `${bytes(size)} · ${moment(at)}` })
  const button = element('button', { type: 'button', className: 'quiet', textContent: text('copy_url'), title: text('copy_url_why') })
  button.setAttribute('aria-label', `${text('copy_url')}: ${name}`)
  button.addEventListener('click', () => copy(url, button))
  const item = element('li')
  item.dataset.url = url
  item.append(link, details, button)
  return item
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties)
}
