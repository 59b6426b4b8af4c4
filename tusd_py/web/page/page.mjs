// Sets up Uppy with the tus endpoint of this server and connects it to the rest of the page.
// uploaded.mjs has the list of finished uploads; tab.mjs makes sure that only one tab restores uploads.
import { Dashboard, GoldenRetriever, Tus, Uppy } from './vendor/uppy.min.mjs'
import { copy } from './clipboard.mjs'
import { onlyTab } from './tab.mjs'
import { refusalOf, showRefused } from './refused.mjs'
import { UploadedList, bytes, visible } from './uploaded.mjs'

const MiB = 2 ** 20
const DAY = 24 * 60 * 60 * 1000

// An upload should survive a restart or an outage of the server: retry quickly at first, then every five
// seconds for an hour. The count restarts whenever bytes were transferred.
const RETRY_DELAYS = [0, 500, 1000, 2000, 3000, ...Array(720).fill(5000)]

// Files are uploaded as soon as they are chosen, so Uppy's "upload" button only resumes what a reload interrupted.
const SENTENCES = {
  dashboardTitle: 'Files to upload',
  uploadXFiles: { 0: 'Resume %{smart_count} upload', 1: 'Resume %{smart_count} uploads' },
  recoveredXFiles: {
    0: 'One file is too big for the browser to store. Choose it again to upload the rest.',
    1: '%{smart_count} files are too big for the browser to store. Choose them again to upload the rest.',
  },
  recoveredAllFiles: 'All files are available. You can resume the upload.',
  reSelect: 'Choose again',
}

const byId = (id) => document.getElementById(id)
const endpoint = new URL(document.querySelector('meta[name="tus-endpoint"]').content, document.baseURI).href

const uploaded = new UploadedList(endpoint)
const maxFileSize = await sizeLimit()
const uppy = new Uppy({ autoProceed: true, onBeforeFileAdded: prepared, restrictions: { maxFileSize } })
  .use(Dashboard, {
    target: '#dashboard',
    inline: true,
    width: '100%',
    height: 400,
    theme: 'auto',
    fileManagerSelectionType: 'both',
    singleFileFullScreen: false,
    showLinkToFileUploadResult: true,
    proudlyDisplayPoweredByUppy: false,
    note: maxFileSize === null ? null : `Files up to ${bytes(maxFileSize)}`,
    locale: { strings: SENTENCES },
  })
  .use(Tus, {
    endpoint,
    limit: 6,
    chunkSize: Infinity,
    retryDelays: RETRY_DELAYS,
    removeFingerprintOnSuccess: true,
    onShouldRetry,
  })

// The size of the largest file that the server takes, so that the page can say so before a file is sent.
async function sizeLimit() {
  const answer = await fetch(endpoint, { method: 'OPTIONS' }).catch(() => null)
  return Number(answer?.headers.get('Tus-Max-Size')) || null
}

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
  return { ...file, meta }
}

function onShouldRetry(error, attempt, options, usual) {
  const again = usual(error)
  if (again && !error.originalResponse) {
    showStatus('The server cannot be reached. Retrying; the uploaded part is kept.')
  }
  return again
}

function showStatus(sentence) {
  const status = byId('connection')
  if (status.textContent !== sentence) status.textContent = sentence
}

// After a reload the upload resumes by itself when every file is available again and none was paused.
function resumeWhenComplete() {
  const { recoveredState } = uppy.getState()
  const waiting = uppy.getFiles().filter((file) => !file.progress.uploadComplete)
  if (recoveredState && waiting.length > 0 && !waiting.some((file) => file.isGhost || file.isPaused || file.error)) {
    uppy.emit('restore-confirmed')
  }
}

uppy.on('restored', resumeWhenComplete)
uppy.on('files-added', resumeWhenComplete)
uppy.on('file-removed', resumeWhenComplete)
uppy.on('upload-success', (file, response) => {
  uploaded.add({ name: file.name, size: file.size, url: response.uploadURL, at: Date.now() })
})
// The server has refused the file, and would again: say why, and offer no retry.
uppy.on('upload-error', (file, error) => {
  const sentence = refusalOf(error)
  if (sentence === null) return
  uppy.hideInfo() // "Failed to upload"
  showRefused(file.name, sentence)
  uppy.removeFile(file.id)
})
for (const event of ['upload-progress', 'upload-success', 'upload-error', 'upload-pause', 'pause-all', 'file-removed']) {
  uppy.on(event, () => showStatus(''))
}
window.addEventListener('offline', () => showStatus('This device is offline. Uploads continue when it is online again.'))
window.addEventListener('online', () => showStatus(''))
const title = document.title
uppy.on('progress', (percent) => {
  document.title = percent > 0 && percent < 100 ? `${percent}% · ${title}` : title
})

byId('endpoint').textContent = endpoint
byId('endpoint-copy').addEventListener('click', (event) => copy(endpoint, event.currentTarget))
byId('uploaded-clear').addEventListener('click', () => uploaded.clear())

if (await onlyTab('tusd-py restores uploads')) {
  uppy.use(GoldenRetriever, { expires: 7 * DAY, indexedDB: { maxFileSize: 64 * MiB, maxTotalSize: 512 * MiB } })
} else {
  byId('hint').textContent = 'This page is also open in another tab. After a reload of this tab, choose the same file again to upload the rest.'
}
