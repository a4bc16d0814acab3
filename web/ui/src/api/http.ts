// One door to the daemon: credentials ride in the cookie, errors become one type, a lost login is told to the app.
import { errorOf } from '../lib/s3';
import type { JsonMap } from './types';

/** An answer that is not 2xx, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly details?: string,
    /** The fields that a Kubernetes Status blames. */
    readonly causes: { field?: string; message?: string }[] = [],
  ) {
    super(message);
    this.name = 'ApiError';
  }
  get unreachable(): boolean {
    return this.status === 0;
  }
}

let loginLost: () => void = () => undefined;
/** Called on any 401 outside the login page. */
export function onLoginLost(handler: () => void): void {
  loginLost = handler;
}

/** The server speaks four error dialects (KFP, KFP upload, Kubernetes Status, S3); a person needs one sentence. */
export function errorText(status: number, body: string): { message: string; details?: string } {
  try {
    const parsed = JSON.parse(body) as JsonMap;
    const message = parsed.message ?? parsed.error_message ?? parsed.error;
    if (typeof message === 'string' && message !== '') {
      const details = typeof parsed.error_details === 'string' ? parsed.error_details : undefined;
      return { message, details: details === message ? undefined : details };
    }
  } catch {
    // not JSON: fall through to the text itself
  }
  const fault = errorOf(body);
  if (fault !== undefined) return { message: fault.message, details: fault.code };
  const text = body.trim();
  if (text !== '' && text.length < 400 && !text.startsWith('<')) return { message: text };
  return { message: `The box answered with HTTP ${status}.` };
}

/** `details.causes` of a Kubernetes Status. */
export function errorCauses(body: string): { field?: string; message?: string }[] {
  try {
    const causes = (JSON.parse(body) as { details?: { causes?: unknown } }).details?.causes;
    return Array.isArray(causes) ? (causes as { field?: string; message?: string }[]) : [];
  } catch {
    return [];
  }
}

export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: 'same-origin', ...init });
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw new ApiError(0, 'The box cannot be reached. Is kfbox serve running?');
  }
  if (response.ok) return response;
  const body = await response.text().catch(() => '');
  const { message, details } = errorText(response.status, body);
  if (response.status === 401 && !path.startsWith('/auth/')) loginLost();
  throw new ApiError(response.status, message, details, errorCauses(body));
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await request(path, { signal, headers: { Accept: 'application/json' } });
  return (await response.json()) as T;
}

export async function send<T>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<T> {
  const response = await request(path, {
    method,
    headers: { Accept: 'application/json', ...(body === undefined ? {} : { 'Content-Type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json' }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return (text === '' ? {} : JSON.parse(text)) as T;
}

/** A query string from the parts that are set. */
export function query(params: Record<string, string | number | boolean | undefined>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value !== undefined && value !== '') search.set(key, String(value));
  }
  const text = search.toString();
  return text === '' ? '' : `?${text}`;
}
