// What the server has told the page: the texts in the visitor's language, and numbers and dates as it writes them.
// The server has written them into the page: texts/*.json has one file for each language.
export const data = JSON.parse(document.getElementById('page-data').textContent)
export const { language, texts } = data

export const endpoint = new URL(document.querySelector('meta[name="tus-endpoint"]').content, document.baseURI).href

// The visitor's own variant of the page's language (en-GB), for dates and numbers.
const locale = navigator.languages.find((each) => each.split('-')[0] === language) ?? language
const plurals = new Intl.PluralRules(language)

// The text with this name. `values` replaces fields in braces; `count` also chooses between one and several.
export function text(name, values = {}) {
  const found = texts.page[name]
  const chosen = typeof found === 'string' ? found : (found[plurals.select(values.count)] ?? found.other)
  return chosen.replace(/\{(\w+)\}/g, (field, key) => (typeof values[key] === 'number' ? values[key].toLocaleString(locale) : values[key]))
}

// Powers of 1024 with short unit names, like Uppy's own.
export function bytes(count) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  const power = Math.min(units.length - 1, count > 0 ? Math.floor(Math.log2(count) / 10) : 0)
  const figure = count / 1024 ** power
  return `${figure.toLocaleString(locale, { maximumFractionDigits: power > 0 && figure < 100 ? 1 : 0 })} ${units[power]}`
}

export function moment(at) {
  return new Date(at).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'short' })
}

// Invisible characters that reverse the reading direction: gpj.exe would look like exe.jpg.
const REVERSING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

export function visible(name) {
  return name.replace(REVERSING, '')
}

// The options of Uppy for its own texts. Its packs for other languages than English lack some of them.
export async function uppyLocale() {
  const pack = texts.uppy_locale ? (await import(`./vendor/${texts.uppy_locale}.mjs`)).default : { strings: {} }
  const touch = isTouch ? { dropPasteFiles: '%{browseFiles}', browseFiles: text('choose') } : {}
  return { ...pack, strings: { ...pack.strings, ...texts.uppy, ...touch } }
}

// Whether the visitor has no pointer that can drag files here.
export const isTouch = matchMedia('(pointer: coarse)').matches
