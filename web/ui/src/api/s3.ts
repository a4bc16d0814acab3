// The calls to the box's S3 endpoint behind the login: buckets, folders of objects, uploads with progress.
import { bucketsOf, deletion, errorOf, listingOf, objectUrl, type Bucket, type Listing } from '../lib/s3';
import { ApiError, query, request } from './http';
import { queryClient } from './queryClient';

/** Objects of one page of a folder. */
export const PAGE = 200;
/** The most that one request may delete. */
const DELETED_AT_ONCE = 1000;

const LIST = { 'list-type': 2, 'encoding-type': 'url' };

const xml = async (path: string, init?: RequestInit): Promise<string> => (await request(path, init)).text();

async function digest(body: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(body)));
  return btoa(String.fromCharCode(...bytes));
}

export const s3 = {
  buckets: async (ns: string, signal?: AbortSignal): Promise<Bucket[]> => bucketsOf(await xml(`/s3/${encodeURIComponent(ns)}/`, { signal })),
  createBucket: (ns: string, bucket: string) => request(objectUrl(ns, bucket), { method: 'PUT' }),
  removeBucket: (ns: string, bucket: string) => request(objectUrl(ns, bucket), { method: 'DELETE' }),
  list: async (ns: string, bucket: string, prefix: string, after?: string, signal?: AbortSignal): Promise<Listing> =>
    listingOf(await xml(objectUrl(ns, bucket) + query({ ...LIST, delimiter: '/', prefix, 'max-keys': PAGE, 'continuation-token': after }), { signal })),
  /** The beginning of an object. */
  head: async (ns: string, bucket: string, key: string, most: number, signal?: AbortSignal): Promise<{ text: string; whole: boolean }> => {
    const response = await request(objectUrl(ns, bucket, key), { signal, headers: { Range: `bytes=0-${most - 1}` } }).catch((cause: unknown) => {
      // Of an empty object no byte can be asked for.
      if (cause instanceof ApiError && cause.status === 416) return undefined;
      throw cause;
    });
    if (response === undefined) return { text: '', whole: true };
    const range = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1];
    return { text: await response.text(), whole: range === undefined || Number(range) <= most };
  },
  /** All keys below a prefix, page by page. */
  async below(ns: string, bucket: string, prefix: string): Promise<string[]> {
    const keys: string[] = [];
    let after: string | undefined;
    do {
      const page = listingOf(await xml(objectUrl(ns, bucket) + query({ ...LIST, prefix, 'continuation-token': after })));
      keys.push(...page.objects.map((object) => object.key));
      after = page.next;
    } while (after !== undefined);
    return keys;
  },
  async remove(ns: string, bucket: string, keys: string[]): Promise<void> {
    for (let at = 0; at < keys.length; at += DELETED_AT_ONCE) {
      const body = deletion(keys.slice(at, at + DELETED_AT_ONCE));
      const said = await xml(`${objectUrl(ns, bucket)}?delete`, { method: 'POST', body, headers: { 'x-amz-checksum-sha256': await digest(body) } });
      const error = errorOf(said);
      if (error !== undefined) throw new ApiError(409, error.message);
    }
  },
};

/** Drops what is known of these objects: they are others now, or gone. */
export function forget(ns: string, bucket: string, keys: readonly string[]): Promise<void> {
  const gone = new Set<unknown>(keys);
  return queryClient.resetQueries({ queryKey: ['object', ns, bucket], predicate: ({ queryKey }) => gone.has(queryKey[3]) });
}

/** Sends a file; fetch tells no progress. Returns how to stop it. */
export function upload(ns: string, bucket: string, key: string, file: File, told: { progress: (percent: number) => void; done: (error?: string) => void }): () => void {
  const call = new XMLHttpRequest();
  call.open('PUT', objectUrl(ns, bucket, key));
  if (file.type !== '') call.setRequestHeader('Content-Type', file.type);
  call.upload.onprogress = (event) => told.progress(Math.floor((100 * event.loaded) / Math.max(1, event.total)));
  call.onload = () => {
    const fault = errorOf(call.responseText)?.message ?? `The box answered with HTTP ${call.status}.`;
    told.done(call.status < 300 ? undefined : fault);
  };
  call.onerror = () => told.done('The box cannot be reached.');
  call.onabort = () => told.done('Stopped.');
  call.send(file);
  return () => call.abort();
}
