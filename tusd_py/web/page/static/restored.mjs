// What happens to unfinished uploads after a reload. Golden Retriever brings back the files whose bytes the browser has
// stored; they are uploaded further without being asked for. The others can only be chosen again: this module lists them.
import { text, visible } from './texts.mjs'
import { storageKey } from './uploaded.mjs'

// As long as Golden Retriever keeps files, and the server unfinished uploads.
export const KEPT_MS = 7 * 24 * 60 * 60 * 1000

export class RestoredFiles {
  #uppy
  #uploaded
  #key
  #storage
  #missing = []

  constructor(uppy, uploaded, endpoint, bearer) {
    this.#storage = bearer.storage
    this.#uppy = uppy
    this.#uploaded = uploaded
    this.#key = storageKey('missing', endpoint, bearer)
    document.getElementById('again-dismiss').addEventListener('click', () => this.#store([]))
    uppy.on('restored', () => this.#onRestored())
    // Chosen again: tus-js-client finds the upload by the file's name, size and time.
    uppy.on('files-added', (files) => this.#found(files.map(({ id }) => id)))
  }

  // Uppy counts finished files, and files without bytes, among those that it could resume.
  #onRestored() {
    const finished = (file) => file.progress.uploadComplete || this.#uploaded.has(file)
    const files = this.#uppy.getFiles()
    const missing = files.filter((file) => file.isGhost && !finished(file))
    this.#load()
    const restored = new Set(files.map(({ id }) => id))
    const others = this.#missing.filter(({ id }) => !restored.has(id))
    this.#store([...others, ...missing.map(({ id, name }) => ({ id, name, at: Date.now() }))])
    this.#uppy.removeFiles(files.filter((file) => file.isGhost || finished(file)).map(({ id }) => id))
    this.#resume()
  }

  // Files that were paused stay paused: Uppy shows a button for them, with the number of files in recoveredState.
  #resume() {
    const { recoveredState, files } = this.#uppy.getState()
    if (!recoveredState) return
    const waiting = Object.values(files)
    if (waiting.some((file) => file.isPaused || file.error)) this.#uppy.setState({ recoveredState: { ...recoveredState, files } })
    else this.#uppy.emit('restore-confirmed')
  }

  #found(ids) {
    if (this.#missing.some(({ id }) => ids.includes(id))) this.#store(this.#missing.filter(({ id }) => !ids.includes(id)))
  }

  #load() {
    try {
      const kept = JSON.parse(this.#storage.getItem(this.#key)) ?? []
      this.#missing = kept.filter(({ at }) => at > Date.now() - KEPT_MS)
    } catch {
      // Storage is forbidden, or was not written by this page.
    }
  }

  #store(missing) {
    this.#missing = missing
    try {
      this.#storage.setItem(this.#key, JSON.stringify(missing))
    } catch {
      // Storage is full or forbidden: the list exists until the page is closed.
    }
    document.getElementById('again').hidden = missing.length === 0
    document.getElementById('again-title').textContent = text('again', { count: missing.length })
    const items = missing.map(({ name }) => Object.assign(document.createElement('li'), { textContent: visible(name) }))
    document.getElementById('again-list').replaceChildren(...items)
  }
}
