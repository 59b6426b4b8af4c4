// Uploads one file with tus-js-client and prints the outcome as one line of JSON. Takes one argument, JSON with:
//   endpoint    where to create the upload
//   file        path of the file to upload
//   stream      true: give the client a stream without a known length instead of the file
//   options     options of tus-js-client, unchanged (chunkSize, metadata, parallelUploads ...)
//   storage     path of a FileUrlStorage, to store the URL in and to resume from
//   abortAfter  abort as soon as more than this many bytes were sent, during a PATCH
//   tokens      list of bearer tokens: the first is used until a request is answered 401, then the next, and so on
//   terminate   true: terminate the upload, with abortAfter after the abort, else after its completion
import { createReadStream, existsSync, writeFileSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import tus from 'tus-js-client'

const { endpoint, file, stream, options, storage, abortAfter, terminate, tokens } = JSON.parse(process.argv[2])
const outcome = { url: '', succeeded: false, requests: [], previous: 0, error: null }

const sent = new Map()
const observers = {
  onBeforeRequest(request) {
    const entry = { method: request.getMethod(), url: request.getURL(), headers: { ...request._headers }, status: null }
    if (tokens) request.setHeader('Authorization', `Bearer ${tokens[0]}`)
    outcome.requests.push(entry)
    sent.set(request, entry)
  },
  onAfterResponse(request, response) {
    sent.get(request).status = response.getStatus()
    if (tokens && response.getStatus() === 401 && tokens.length > 1) tokens.shift()
  },
}

function storageOptions() {
  if (!storage) return {}
  if (!existsSync(storage)) writeFileSync(storage, '{}')
  return { urlStorage: new tus.FileUrlStorage(storage) }
}

async function run() {
  const source = stream ? createReadStream(file).pipe(new PassThrough()) : createReadStream(file)
  // As an application does that renews its token: a 401 is worth another attempt.
  const renewal = tokens ? { retryDelays: [0, 0, 0], onShouldRetry: (error) => error.originalResponse?.getStatus() === 401 } : {}
  const all = { endpoint, retryDelays: null, ...renewal, ...options, ...storageOptions(), ...observers }
  let aborting = false
  const upload = await new Promise((resolve, reject) => {
    const upload = new tus.Upload(source, {
      ...all,
      onError: reject,
      onSuccess: () => resolve(upload),
      onProgress(bytes) {
        if (abortAfter === undefined || aborting || bytes <= abortAfter) return
        aborting = true
        upload.abort(Boolean(terminate)).then(() => resolve(upload), reject)
      },
    })
    upload.findPreviousUploads().then((previous) => {
      outcome.previous = previous.length
      if (previous.length) upload.resumeFromPreviousUpload(previous[0])
      upload.start()
    }, reject)
  })
  outcome.url = upload.url
  outcome.succeeded = !aborting
  if (terminate && !aborting) await tus.Upload.terminate(upload.url, all)
}

await run().catch((error) => {
  outcome.error = String(error)
})
process.stdout.write(JSON.stringify(outcome), () => process.exit(0))
