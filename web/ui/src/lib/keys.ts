// Access keys to the S3 endpoint: what they open in words, what a person writes as rules, and their Secret. Pure.
import { parseTime } from './format';
import { shellQuote } from './snippets';

export type Role = 'view' | 'edit';

export interface Rule {
  bucket: string;
  prefix?: string;
  role?: Role;
}

/** Keys of this namespace open the buckets of all. */
export const WHOLE_BOX = 'kubeflow-system';
/** The key that the box makes in every namespace. */
export const OWN_KEY = 'mlpipeline-minio-artifact';

/** What a key opens, a line for each rule. */
export function opens(rules: readonly Rule[] | undefined, ns: string): string[] {
  if (rules === undefined || rules.length === 0) return [ns === WHOLE_BOX ? 'All buckets of the box: read and write' : 'All buckets of the namespace: read and write'];
  return rules.map(({ bucket, prefix = '', role = 'view' }) => `${bucket}${prefix === '' ? '' : `/${prefix}`}: ${role === 'edit' ? 'read and write' : 'read'}`);
}

/** Lines of BUCKET or BUCKET/PREFIX as rules. */
export function rulesFrom(text: string, role: Role): Rule[] {
  return text.split('\n').map((line) => line.trim().replace(/^s3:\/\//, '')).filter((line) => line !== '').map((line) => {
    const slash = line.indexOf('/');
    const prefix = slash < 0 ? '' : line.slice(slash + 1);
    return { bucket: slash < 0 ? line : line.slice(0, slash), ...(prefix === '' ? {} : { prefix }), role };
  });
}

/** The end of a day, here, as the box takes it; none: for ever. */
export function endOfDay(day: string): string | undefined {
  if (day === '') return undefined;
  const at = new Date(`${day}T23:59:59`);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
}

export const isOver = (expires: string | undefined, now: number): boolean => (parseTime(expires) ?? Infinity) <= now;

export interface Pair {
  id: string;
  secret: string;
}

/** Id and secret out of a key's Secret; none: it is somebody else's. */
export function pairOf(data: Record<string, string> | undefined): Pair | undefined {
  const value = (name: string) => atob(data?.[name] ?? '');
  const pair = { id: value('AWS_ACCESS_KEY_ID'), secret: value('AWS_SECRET_ACCESS_KEY') };
  return pair.id === '' || pair.secret === '' ? undefined : pair;
}

/** For a shell on the box: the endpoint's port is known there alone. */
export const shellHere = (ns: string, name: string): string => `eval "$(kfbox s3 env --namespace ${ns} --key ${name})"`;
/** For a shell in a pod, where the endpoint has a name. */
export const shellInPods = ({ id, secret }: Pair): string =>
  `export AWS_ACCESS_KEY_ID=${shellQuote(id)}\nexport AWS_SECRET_ACCESS_KEY=${shellQuote(secret)}\nexport AWS_DEFAULT_REGION=us-east-1\nexport AWS_ENDPOINT_URL=http://minio-service.kubeflow:9000`;
