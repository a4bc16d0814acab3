// S3 as the browser needs it: addresses of buckets and objects, what the answers say, and cutting CSV. Pure.

/**
 * Where an object is: a key may hold any character. Browsers fold segments of dots away, however they are escaped,
 * and would ask for another object: the slashes of such a key are escaped as well, which the box reads as the same.
 */
export function objectUrl(ns: string, bucket: string, key = ''): string {
  const place = `/s3/${encodeURIComponent(ns)}/${encodeURIComponent(bucket)}`;
  if (key === '') return place;
  const parts = key.split('/');
  const slash = parts.some((part) => part === '.' || part === '..') ? '%2F' : '/';
  return `${place}${slash}${parts.map(escape).join(slash)}`;
}

/** `encodeURIComponent`, and what S3's canonical form escapes besides. */
const escape = (part: string): string => encodeURIComponent(part).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

export interface Bucket {
  name: string;
  created: string;
}

export interface S3Object {
  key: string;
  size: number;
  modified: string;
  etag: string;
}

/** One page of a folder: the folders in it by their whole prefix, and the objects. */
export interface Listing {
  folders: string[];
  objects: S3Object[];
  next?: string;
}

/** A key as `encoding-type=url` writes it; some endpoints write a space as a plus, and all of them a plus as `%2B`. */
export const decodeKey = (encoded: string): string => decodeURIComponent(encoded.replaceAll('+', ' '));

/** A name for people: control characters as the signs that stand for them. */
export const visible = (name: string): string =>
  name.replace(/[\u0000-\u001f\u007f]/g, (c) => String.fromCharCode(c === '\u007f' ? 0x2421 : 0x2400 + c.charCodeAt(0)));

const children = (node: Document | Element, name: string): Element[] => [...node.getElementsByTagName(name)];
const text = (node: Document | Element, name: string): string => node.getElementsByTagName(name)[0]?.textContent ?? '';
const parse = (xml: string): Document => new DOMParser().parseFromString(xml, 'application/xml');
/** An answer that cannot be read must not look like an empty one. */
function read(xml: string): Document {
  const answer = parse(xml);
  if (answer.getElementsByTagName('parsererror').length > 0) throw new Error('This is not what an S3 endpoint answers: something stands between the browser and the box.');
  return answer;
}

export const bucketsOf = (xml: string): Bucket[] =>
  children(read(xml), 'Bucket').map((node) => ({ name: text(node, 'Name'), created: text(node, 'CreationDate') }));

/** One page of a list that was asked for with `encoding-type=url`: XML cannot hold every character of a key. */
export function listingOf(xml: string): Listing {
  const page = read(xml);
  const next = text(page, 'NextContinuationToken');
  return {
    folders: children(page, 'CommonPrefixes').map((node) => decodeKey(text(node, 'Prefix'))),
    objects: children(page, 'Contents').map((node) => ({
      key: decodeKey(text(node, 'Key')),
      size: Number(text(node, 'Size')),
      modified: text(node, 'LastModified'),
      etag: text(node, 'ETag').replaceAll('"', ''),
    })),
    next: next === '' ? undefined : next,
  };
}

/** Code and message of an error document; undefined when it is none. */
export function errorOf(xml: string): { code: string; message: string } | undefined {
  if (!xml.includes('<Error>')) return undefined;
  // An error may name a key with characters that XML cannot hold.
  const error = parse(visible(xml.replace(/\s/g, ' ')));
  const code = text(error, 'Code');
  return code === '' ? undefined : { code, message: text(error, 'Message') || code };
}

/** The request body that deletes these keys. */
export function deletion(keys: string[]): string {
  const entity: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#13;', '\n': '&#10;', '\t': '&#9;' };
  const objects = keys.map((key) => `<Object><Key>${key.replace(/[&<>\r\n\t]/g, (c) => entity[c] ?? c)}</Key></Object>`);
  return `<Delete><Quiet>true</Quiet>${objects.join('')}</Delete>`;
}

const endOf = (key: string): string => /\.([a-z0-9]+)$/i.exec(key)?.[1]?.toLowerCase() ?? '';

export type Preview = 'text' | 'table' | 'parquet' | 'image';
/** How an object can be looked at, by its name. */
export function previewOf(key: string): Preview | undefined {
  const end = endOf(key);
  if (['csv', 'tsv'].includes(end)) return 'table';
  if (end === 'parquet') return 'parquet';
  if (['png', 'jpg', 'jpeg', 'gif', 'webp', 'bmp', 'ico'].includes(end)) return 'image';
  if (['txt', 'log', 'json', 'jsonl', 'yaml', 'yml', 'md', 'py', 'toml', 'ini', 'cfg', 'sh', 'xml', 'html', 'svg', 'sql', 'r', 'rs', 'js', 'ts', 'conf'].includes(end)) return 'text';
  return undefined;
}

/** What stands between the cells of a table: a tab when its name says so, or else when its first line does. */
export function separatorOf(key: string, csv: string): ',' | '\t' {
  if (endOf(key) === 'tsv') return '\t';
  const first = csv.slice(0, csv.search(/\r?\n|$/));
  return first.includes('\t') && !first.includes(',') ? '\t' : ',';
}

/** The first rows of a CSV (RFC 4180) or TSV. The last row may be cut off: it is left out. */
export function rowsOf(csv: string, comma: ',' | '\t', most: number, whole: boolean): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = '';
  let quoted = false;
  for (let i = 0; i < csv.length && rows.length < most; i += 1) {
    const c = csv.charAt(i);
    if (quoted) {
      if (c !== '"') cell += c;
      else if (csv.charAt(i + 1) === '"') {
        cell += c;
        i += 1;
      } else quoted = false;
    } else if (c === '"' && cell === '') quoted = true;
    else if (c === comma || c === '\n') {
      row.push(cell.replace(/\r$/, ''));
      cell = '';
      if (c === '\n') {
        rows.push(row);
        row = [];
      }
    } else cell += c;
  }
  if (whole && rows.length < most && (cell !== '' || row.length > 0)) rows.push([...row, cell]);
  return rows;
}
