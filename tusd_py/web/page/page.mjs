// Sets up Uppy against this server's tus endpoint and ties it to the rest of the page.
// The list of finished uploads is uploaded.mjs; only one tab restoring at a time is tab.mjs.
import { Dashboard, GoldenRetriever, Tus, Uppy } from './vendor/uppy.min.mjs'
import { copy } from './clipboard.mjs'
import { onlyTab } from './tab.mjs'
import { UploadedList } from './uploaded.mjs'

const MiB = 2 ** 20
const DAY = 24 * 60 * 60 * 1000

// A server that is restarted, moved or unplugged should cost patience, not the upload: quick at
// first, then every five seconds for an hour. The count starts anew whenever bytes get through.
const RETRY_DELAYS = [0, 500, 1000, 2000, 3000, ...Array(720).fill(5000)]

// As files are sent the moment they are chosen, Uppy asks to "upload" only what a reload has interrupted.
const SENTENCES = {
  dashboardTitle: 'Files to upload',
  uploadXFiles: { 0: 'Resume %{smart_count} upload', 1: 'Resume %{smart_count} uploads' },
  recoveredXFiles: {
    0: 'One file is too big for the browser to keep. Choose it again, and only the rest is sent.',
    1: '%{smart_count} files are too big for the browser to keep. Choose them again, and only the rest is sent.',
  },
  recoveredAllFiles: 'Everything is still here. Resume when you like.',
  reSelect: 'Choose again',
}

const byId = (id) => document.getElementById(id)
const endpoint = new URL(document.querySelector('meta[name="tus-endpoint"]').content, document.baseURI).href

const uploaded = new UploadedList(endpoint)
const uppy = new Uppy({ autoProceed: true, onBeforeFileAdded: withoutEmptyPath })
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

// Uppy tells a server "relativePath: null" in so many letters for each file that came from no folder.
function withoutEmptyPath(file) {
  const { relativePath, ...meta } = file.meta
  return relativePath ? true : { ...file, meta }
}

function onShouldRetry(error, attempt, options, usual) {
  const again = usual(error)
  if (again && !error.originalResponse) {
    say('The server cannot be reached. Trying again; nothing that has arrived is lost.')
  }
  return again
}

function say(sentence) {
  const status = byId('connection')
  if (status.textContent !== sentence) status.textContent = sentence
}

// After a reload the rest is sent without asking, once every file is there again and unless one was paused.
function resumeWhenWhole() {
  const { recoveredState } = uppy.getState()
  const waiting = uppy.getFiles().filter((file) => !file.progress.uploadComplete)
  if (recoveredState && waiting.length > 0 && !waiting.some((file) => file.isGhost || file.isPaused || file.error)) {
    uppy.emit('restore-confirmed')
  }
}

uppy.on('restored', resumeWhenWhole)
uppy.on('files-added', resumeWhenWhole)
uppy.on('file-removed', resumeWhenWhole)
uppy.on('upload-success', (file, response) => {
  uploaded.add({ name: file.name, size: file.size, url: response.uploadURL, at: Date.now() })
})
for (const news of ['upload-progress', 'upload-success', 'upload-error', 'upload-pause', 'pause-all', 'file-removed']) {
  uppy.on(news, () => say(''))
}
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
  byId('hint').textContent = 'This page is open in another tab too. After a reload of this one, choose the same file again, and only the rest is sent.'
}
