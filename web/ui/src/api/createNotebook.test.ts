// A notebook and its new volumes are made together or not at all.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { JsonMap } from './types';

const object = (kind: string, name: string): JsonMap => ({ apiVersion: kind === 'Notebook' ? 'kubeflow.org/v1' : 'v1', kind, metadata: { name } });
const claims = [object('PersistentVolumeClaim', 'a'), object('PersistentVolumeClaim', 'b')];
const calls: string[] = [];
/** Method and path of what the box refuses. */
let refused: (call: string) => boolean = () => false;

beforeEach(() => {
  calls.length = 0;
  vi.stubGlobal('document', { addEventListener: () => undefined, hidden: false });
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    const body = init.method === 'POST' ? (JSON.parse(String(init.body)) as { metadata: { name: string } }) : undefined;
    const call = `${init.method} ${path.split('?')[0]?.split('/').slice(-1)[0]}${body === undefined ? '' : ` ${body.metadata.name}`}${path.includes('dryRun=All') ? ' dry' : ''}`;
    calls.push(call);
    return Promise.resolve(refused(call) ? new Response('{"message": "no"}', { status: 409 }) : new Response('{}'));
  });
});
afterEach(() => vi.unstubAllGlobals());

const create = async (dryRun = false) => (await import('./notebooks')).createNotebook(object('Notebook', 'n'), claims, 'ns', dryRun);

test('volumes come first', async () => {
  refused = () => false;
  await create();
  expect(calls).toEqual(['POST persistentvolumeclaims a', 'POST persistentvolumeclaims b', 'POST notebooks n']);
});

test('a refused notebook takes its new volumes with it', async () => {
  refused = (call) => call.startsWith('POST notebooks') || call === 'DELETE b';
  await expect(create()).rejects.toMatchObject({ claim: undefined, message: 'no', left: ['b'] });
  expect(calls.slice(3)).toEqual(['DELETE a', 'DELETE b']);
});

test('a volume that is there is named, and stays', async () => {
  refused = (call) => call === 'POST persistentvolumeclaims b';
  await expect(create()).rejects.toMatchObject({ claim: 'b', left: [] });
  expect(calls).toEqual(['POST persistentvolumeclaims a', 'POST persistentvolumeclaims b', 'DELETE a']);
});

test('a dry run deletes nothing', async () => {
  refused = (call) => call.startsWith('POST notebooks');
  await expect(create(true)).rejects.toMatchObject({ claim: undefined });
  expect(calls).toEqual(['POST persistentvolumeclaims a dry', 'POST persistentvolumeclaims b dry', 'POST notebooks n dry']);
});
