// Uploads many files with tus-js-client at the same time, slowly, with cuts. Reads lines of JSON from standard input.
//
// The first line is the plan:
//   endpoint  where to create the uploads
//   rate      bytes per second of each request, until a second line, "fast", comes
//   uploads   list of: number, file, metadata, parts (more than 1: parallelUploads), cuts (times to abort and resume),
//             isHeld (its last bytes wait for "fast")
// For each upload that ends it prints a line of JSON: number, url, parts (their URLs), created (URLs of creations),
// statuses (how often each status came; 0 is no answer), and error.
import { createReadStream, statSync } from 'node:fs'
import http from 'node:http'
import { createInterface } from 'node:readline'
import { Transform } from 'node:stream'
import tus from 'tus-js-client'

const TICKS_PER_SECOND = 4
const RETRY_DELAYS = Array.from({ length: 600 }, (_, index) => Math.min(2000, 400 * (index + 1)))
// The bytes of a held upload that wait for "fast".
const HELD_BYTES = 1500

let rate = 0
let isFast = false
let release
const released = new Promise((resolve) => {
  release = resolve
})

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

// Passes a body on at `rate`. The last bytes of a held upload wait.
class Slow extends Transform {
  constructor(size, isHeld) {
    super()
    this.left = size
    this.isHeld = isHeld
  }

  async _transform(chunk, _encoding, done) {
    let start = 0
    while (start < chunk.length && !this.destroyed) {
      if (this.isHeld && this.left <= HELD_BYTES) await released
      let count = isFast ? chunk.length : Math.max(256, Math.floor(rate / TICKS_PER_SECOND))
      if (this.isHeld && !isFast && this.left > HELD_BYTES) count = Math.min(count, this.left - HELD_BYTES)
      const piece = chunk.subarray(start, start + count)
      start += piece.length
      this.left -= piece.length
      this.push(piece)
      if (!isFast) await Promise.race([sleep(1000 / TICKS_PER_SECOND), released])
    }
    done()
  }
}

// The default stack, with bodies that are sent slowly and counts of what was answered.
class SlowStack {
  constructor(isHeld, report) {
    this.stack = new tus.DefaultHttpStack({ agent: new http.Agent({ keepAlive: true }) })
    this.isHeld = isHeld
    this.report = report
    this.running = new Set()
    this.isClosed = false
  }

  // End what runs, and send nothing any more. An upload that is aborted between two of its requests goes on by itself.
  close() {
    this.isClosed = true
    for (const request of this.running) request.abort()
  }

  createRequest(method, url) {
    const request = this.stack.createRequest(method, url)
    const send = request.send.bind(request)
    request.send = async (body = null) => {
      if (this.isClosed) return new Promise(() => {})
      this.running.add(request)
      let slow = body
      if (body) {
        slow = new Slow(body.size, this.isHeld)
        slow.size = body.size
        body.pipe(slow)
      }
      try {
        const response = await send(slow)
        const key = `${method} ${response.getStatus()}`
        this.report.statuses[key] = (this.report.statuses[key] ?? 0) + 1
        const location = response.getHeader('location')
        if (method === 'POST' && location) this.report.created.push(new URL(location, url).href)
        return response
      } catch (error) {
        this.report.statuses[`${method} 0`] = (this.report.statuses[`${method} 0`] ?? 0) + 1
        throw error
      } finally {
        this.running.delete(request)
        slow?.destroy()
        body?.destroy()
      }
    }
    return request
  }

  getName() {
    return 'SlowStack'
  }
}

// One upload to its end. After each cut it is continued by another object, as after a reload of a page.
async function upload(plan, endpoint) {
  const report = { number: plan.number, url: null, parts: [], created: [], statuses: {}, error: null }
  const isParallel = plan.parts > 1
  const milliseconds = (1000 * statSync(plan.file).size) / rate
  let cuts = plan.cuts
  let failures = 0

  function attempt() {
    let current
    const stack = new SlowStack(plan.isHeld, report)
    const ended = new Promise((resolve, reject) => {
      current = new tus.Upload(createReadStream(plan.file), {
        endpoint,
        metadata: plan.metadata,
        parallelUploads: plan.parts,
        retryDelays: RETRY_DELAYS,
        httpStack: stack,
        onSuccess: () => resolve(true),
        onError: reject,
      })
      // What an application keeps in its URL storage.
      if (report.url) current.resumeFromPreviousUpload({ uploadUrl: report.url })
      if (report.parts.some(Boolean)) current.resumeFromPreviousUpload({ parallelUploadUrls: report.parts })
      current.start()
      if (cuts > 0) sleep(((0.5 + Math.random()) * milliseconds) / (plan.cuts + 1)).then(() => resolve(false))
    })
    return { current, stack, ended }
  }

  for (let isEnded = false; !isEnded; ) {
    const { current, stack, ended } = attempt()
    try {
      isEnded = await ended
      if (!isEnded) {
        cuts -= 1
        await current.abort()
        stack.close()
      }
    } catch (error) {
      const status = error.originalResponse?.getStatus() ?? 0
      // The request that joins parts is the only one that tus-js-client does not repeat by itself.
      const isTransient = status === 0 || status >= 500 || status === 409 || status === 423
      if (!isParallel || !isTransient || ++failures > 200) {
        report.error = String(error)
        break
      }
    }
    report.url = current.url
    const urls = current._parallelUploadUrls ?? []
    report.parts = Array.from({ length: isParallel ? plan.parts : 0 }, (_, index) => urls[index] ?? report.parts[index])
    if (!isEnded) await sleep(50 + 500 * Math.random())
  }
  process.stdout.write(`${JSON.stringify(report)}\n`)
}

const lines = createInterface({ input: process.stdin })
let running
lines.on('line', (line) => {
  if (line === 'fast') {
    isFast = true
    release()
    return
  }
  const { endpoint, rate: bytesPerSecond, uploads } = JSON.parse(line)
  rate = bytesPerSecond
  running = Promise.all(uploads.map((one) => upload(one, endpoint))).then(() => process.exit(0))
})
