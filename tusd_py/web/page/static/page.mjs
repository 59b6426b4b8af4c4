// Sets up Uppy with the tus endpoint of this server and connects it to the rest of the page.
// uploaded.mjs has the list of finished uploads, restored.mjs what a reload leaves; tab.mjs makes sure that only one tab
// restores uploads; texts.mjs has the texts and what the server has told the page.
import { Dashboard, GoldenRetriever, Tus, Uppy } from './vendor/uppy.min.mjs'
import { admit } from './access.mjs'
import { copy } from './clipboard.mjs'
import { clearRefused, refusalOf, showRefused } from './refused.mjs'
import { KEPT_MS, RestoredFiles } from './restored.mjs'
import { onlyTab } from './tab.mjs'
import { bytes, data, endpoint, isTouch, text, uppyLocale, visible } from './texts.mjs'
import { UploadedList } from './uploaded.mjs'

const MiB = 2 ** 20
const TYPES_SHOWN_MAX = 12

// An upload should survive a restart or an outage of the server: retry quickly at first, then every five
// seconds for an hour. The count restarts whenever bytes were transferred.
const RETRY_DELAYS = [0, 500, 1000, 2000, 3000, ...Array(720).fill(5000)]

const byId = (id) => document.getElementById(id)
document.documentElement.classList.toggle('touch', isTouch)

// An upload can go on with new credentials: it is refused for good only when those are refused as well.
const UNAUTHENTICATED = 401
const UNAUTHENTICATED_MAX = 3
const unauthenticated = new WeakMap() // by upload: how often, since it has made progress
class Unauthenticated extends Error {}

byId('endpoint').textContent = endpoint
byId('endpoint-copy').addEventListener('click', (event) => copy(endpoint, event.currentTarget))
const bearer = await admit()
byId('uploading').hidden = false

const uploaded = new UploadedList(endpoint, bearer)
// Files are uploaded as soon as they are chosen, so Uppy's "upload" button only resumes what a reload interrupted.
const uppy = new Uppy({
  id: ['uppy', bearer.key].filter(Boolean).join('-'),
  autoProceed: true,
  onBeforeFileAdded: prepared,
  restrictions: {
    minFileSize: data.sizeMin || null,
    maxFileSize: data.sizeMax || null,
    // Types found in the bytes are left to the server: browsers know them by the name only.
    allowedFileTypes: data.typesByName ? data.types : null,
    maxNumberOfFiles: bearer.endpoint ? 1 : null,
  },
  locale: await uppyLocale(),
})
  .use(Dashboard, {
    target: '#dashboard',
    inline: true,
    width: '100%',
    height: 400,
    theme: 'auto',
    fileManagerSelectionType: isTouch ? 'files' : 'both',
    singleFileFullScreen: false,
    showLinkToFileUploadResult: bearer.canDownload,
    proudlyDisplayPoweredByUppy: false,
    note: limits(),
  })
  .use(Tus, {
    endpoint: bearer.endpoint ?? endpoint,
    limit: 6,
    chunkSize: Infinity,
    retryDelays: RETRY_DELAYS,
    removeFingerprintOnSuccess: true,
    onShouldRetry,
    onBeforeRequest: async (request) => {
      for (const [name, value] of Object.entries(await bearer.headers())) request.setHeader(name, value)
    },
    onAfterResponse: (request, response) => {
      // After such a refusal of HEAD tus-js-client forgets the upload and starts it again.
      if (response.getStatus() === UNAUTHENTICATED && request.getMethod() === 'HEAD') throw new Unauthenticated()
    },
  })
new RestoredFiles(uppy, uploaded, endpoint, bearer)

// What the server says of files before one is chosen.
function limits() {
  const shown = [...new Set(data.types.map(typeName).filter(Boolean))]
  const types = shown.slice(0, TYPES_SHOWN_MAX).join(', ') + (shown.length > TYPES_SHOWN_MAX ? ', …' : '')
  const sentences = [
    data.sizeMax ? text('size_max', { size: bytes(data.sizeMax) }) : '',
    data.sizeMin ? text('size_min', { size: bytes(data.sizeMin) }) : '',
    types ? text('types', { types }) : '',
  ]
  return sentences.filter(Boolean).join(' · ') || null
}

// ".png" as PNG, "image/*" as pictures. A media type that has an extension stands before it in the list.
function typeName(type, index) {
  const [kind, name] = type.split('/')
  if (name === undefined) return type.slice(1).toUpperCase()
  if (name !== '*') return data.types[index + 1]?.startsWith('.') ? '' : type
  return ['image', 'video', 'audio', 'text'].includes(kind) ? text(`types_${kind}`) : type
}

// The file chooser offers what the server accepts; what it cannot say for certain by the name is no more than an offer.
byId('dashboard').addEventListener('click', offerTypes, true)

function offerTypes() {
  for (const input of document.querySelectorAll('#dashboard input[type=file]:not([webkitdirectory])')) {
    if (data.types.length > 0) input.accept = data.types.join(',')
  }
}

// Uppy leaves the list out of the accessibility tree while it has a single item.
new MutationObserver(() => document.querySelector('.uppy-Dashboard-files:not([role])')?.setAttribute('role', 'list')).observe(
  byId('dashboard'),
  { childList: true, subtree: true },
)

// For a file that was not chosen with a folder, Uppy would send the text "null" as its relativePath. Uppy shows
// meta.name: characters that disguise it are removed there, and the server still gets the file's own name.
function prepared(file) {
  const { relativePath, ...meta } = file.meta
  if (relativePath) meta.relativePath = relativePath
  const shown = visible(meta.name)
  if (shown !== meta.name) {
    meta.filename = meta.name
    meta.name = shown
  }
  return { ...file, meta, chosenAt: Date.now() }
}

function onShouldRetry(error, attempt, options, usual) {
  if (isUnauthenticated(error)) {
    const count = attempt === 0 ? 1 : (unauthenticated.get(options) ?? 0) + 1
    unauthenticated.set(options, count)
    return count <= UNAUTHENTICATED_MAX && bearer.expire()
  }
  const again = usual(error)
  if (again && !error.originalResponse) showStatus(text('unreachable'))
  return again
}

function isUnauthenticated(error) {
  return error.originalResponse?.getStatus() === UNAUTHENTICATED || error.causingError instanceof Unauthenticated
}

function showStatus(sentence) {
  const status = byId('connection')
  if (status.textContent !== sentence) status.textContent = sentence
}

for (const event of ['upload-progress', 'upload-success', 'upload-error', 'upload-pause', 'pause-all', 'file-removed']) {
  uppy.on(event, () => showStatus(''))
}

uppy.on('upload-success', (file, response) => {
  uploaded.add({ id: file.id, name: file.name, size: file.size, url: response.uploadURL, at: Date.now() })
  // A file that was retried by itself is the last event of its upload.
  setTimeout(listFinished)
})
uppy.on('complete', listFinished)

// Until the upload of all files that were chosen together has ended, they are in the Dashboard, whose progress counts
// them; then they are in the list of uploaded files. So a file is listed once.
function listFinished() {
  const running = new Set(Object.values(uppy.getState().currentUploads).flatMap(({ fileIDs }) => fileIDs))
  const finished = uppy.getFiles().filter(({ id, progress }) => progress.uploadComplete && !running.has(id))
  if (finished.length === 0) return
  uppy.removeFiles(finished.map(({ id }) => id))
  uploaded.show(uppy.getFiles().map(({ id }) => id))
  byId('announcement').textContent = text('uploaded_count', { count: finished.length })
}

// The server has refused the file, and would again: say why, and offer no retry.
uppy.on('upload-error', (file, error) => {
  if (isUnauthenticated(error)) {
    uppy.hideInfo()
    showStatus(text('login_needed'))
    return
  }
  const refusal = refusalOf(error)
  if (refusal === null) return
  uppy.hideInfo() // "Failed to upload"
  showRefused(file.name, refusal)
  uppy.removeFile(file.id)
})
window.addEventListener('offline', () => showStatus(text('offline')))
window.addEventListener('online', () => showStatus(''))
const title = document.title
uppy.on('progress', (percent) => {
  document.title = percent > 0 && percent < 100 ? `${percent}% · ${title}` : title
})

byId('uploaded-clear').addEventListener('click', () => uploaded.clear())
byId('refused-clear').addEventListener('click', clearRefused)

if (await onlyTab(`tusd-py restores uploads ${bearer.key}`)) {
  uppy.use(GoldenRetriever, { expires: KEPT_MS, indexedDB: { maxFileSize: 64 * MiB, maxTotalSize: 512 * MiB } })
} else {
  byId('hint').textContent = text('other_tab')
}
