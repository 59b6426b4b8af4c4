// The list of files that this browser has uploaded: name, size and link, stored across reloads.
// It changes nothing on the server.
import { call } from './api.mjs'
import { copy } from './clipboard.mjs'
import { bytes, data, moment, text, visible } from './texts.mjs'

const ENTRIES_MAX = 1000
const GONE = [404, 410]

// Each visitor's own, for this endpoint.
export function storageKey(what, endpoint, bearer) {
  return ['tusd-py', what, endpoint, bearer.key].filter(Boolean).join(' ')
}

export class UploadedList {
  #key
  #bearer
  #entries = []
  #older = 0
  // Entries that Uppy's Dashboard still shows: a file is listed once.
  #elsewhere = new Set()
  // Of a long list only the rows that are looked at are checked.
  #seen = new IntersectionObserver((rows) => rows.forEach((row) => row.isIntersecting && this.#check(row.target)))

  constructor(endpoint, bearer) {
    this.#bearer = bearer
    this.#key = storageKey('uploaded', endpoint, bearer)
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

  // Keeps the entry at once. It is listed after `show`, which has the ids of the files that Uppy still lists.
  add(entry) {
    this.#load()
    this.#elsewhere.add(entry.id)
    const entries = [entry, ...this.#entries.filter((other) => other.url !== entry.url)]
    this.#older += Math.max(0, entries.length - ENTRIES_MAX)
    this.#store(entries.slice(0, ENTRIES_MAX))
  }

  show(elsewhere) {
    this.#elsewhere = new Set(elsewhere)
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
      this.#bearer.storage.setItem(this.#key, JSON.stringify(entries))
      this.#bearer.storage.setItem(`${this.#key} older`, this.#older)
    } catch {
      // Storage is full or forbidden: the list exists until the page is closed.
    }
  }

  #load() {
    try {
      this.#entries = JSON.parse(this.#bearer.storage.getItem(this.#key)) ?? []
      this.#older = Number(this.#bearer.storage.getItem(`${this.#key} older`))
    } catch {
      // Storage is forbidden, or was not written by this page: keep the current entries.
    }
  }

  // Removes an upload that has expired or was deleted. It stays if the server cannot be reached.
  async #check(item) {
    this.#seen.unobserve(item)
    const { url } = item.dataset
    const headers = { 'Tus-Resumable': '1.0.0', ...(await this.#bearer.headers()) }
    const answer = await fetch(url, { method: 'HEAD', headers }).catch(() => null)
    if (!GONE.includes(answer?.status)) return
    this.#load()
    this.#store(this.#entries.filter((entry) => entry.url !== url))
    item.remove()
    this.#count(document.getElementById('uploaded-list').childElementCount)
  }

  #render() {
    const shown = this.#entries.filter(({ id }) => !this.#elsewhere.has(id))
    document.getElementById('uploaded-list').replaceChildren(...shown.map((entry) => row(entry, this.#bearer)))
    this.#count(shown.length)
  }

  #count(shown) {
    document.getElementById('uploaded').hidden = shown === 0
    document.getElementById('uploaded-count').textContent = shown
    document.getElementById('uploaded-older').textContent = this.#older ? text('older', { count: this.#older }) : ''
  }
}

// What the visitor may do with the file decides what its row offers.
function row({ name: declared, size, url, at }, bearer) {
  const name = visible(declared)
  const item = element('li')
  item.dataset.url = url
  const details = element('span', { className: 'details', textContent: `${bytes(size)} · ${moment(at)}` })
  if (!bearer.canDownload) {
    item.append(element('span', { className: 'name', textContent: name, title: name }), details)
    return item
  }
  const isLink = bearer.makesLinks && data.access.linkSeconds > 0
  const label = text(isLink ? 'copy_link' : 'copy_url')
  const why = text(isLink ? 'copy_link_why' : bearer.makesLinks ? 'copy_url_own' : 'copy_url_why')
  const button = element('button', { type: 'button', className: 'quiet', textContent: label, title: why })
  button.setAttribute('aria-label', `${label}: ${name}`)
  button.addEventListener('click', () => copy(isLink ? () => downloadLink(url, bearer) : url, button))
  item.append(element('a', { href: url, download: name, textContent: name, title: name }), details, button)
  return item
}

// A URL that reads the file, and does nothing else, for everyone who has it.
async function downloadLink(url, bearer) {
  const upload_id = decodeURIComponent(new URL(url).pathname.split('/').at(-1))
  const body = { upload_id, expires_in: data.access.linkSeconds }
  const made = await call('POST', 'download-links', { body, headers: await bearer.headers() })
  // The server may answer with a path; a link that is sent to others needs the whole URL.
  return new URL(made.url, document.baseURI).href
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties)
}
