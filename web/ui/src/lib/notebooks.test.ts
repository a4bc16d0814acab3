// What a notebook's object says in words, and which volumes are only its own.
import { expect, test } from 'vitest';
import type { NotebookObject, PodDefaultObject, PodObject } from '../api/types';
import { askedWords, canOpen, claimsOnlyOf, idleTimeout, mountersOf, mountsOf, notebookSentence, notebookState, presetsOf, shortImage } from './notebooks';

const now = Date.parse('2026-01-01T00:01:00Z');
const notebook = (name: string, status: object = {}, annotations: Record<string, string> = {}, claims: string[] = []): NotebookObject => ({
  apiVersion: 'kubeflow.org/v1',
  kind: 'Notebook',
  metadata: { name, namespace: 'ns', uid: name, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z', annotations, labels: { x: '1' } },
  spec: { template: { spec: { containers: [{ name, image: 'i', volumeMounts: claims.map((claim) => ({ name: claim, mountPath: `/${claim}` })) }], volumes: claims.map((claim) => ({ name: claim, persistentVolumeClaim: { claimName: claim } })) } } },
  status,
});
const pod = (name: string, claims: string[], of?: string, phase = 'Running') =>
  ({ apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: of === undefined ? {} : { 'notebook-name': of } }, spec: { volumes: claims.map((claim) => ({ name: claim, persistentVolumeClaim: { claimName: claim } })) }, status: { phase } }) as unknown as PodObject;
const stopped = { 'kubeflow-resource-stopped': '2026-01-01T00:00:00Z' };

test('sentences', () => {
  const says = (status: object, annotations = {}) => notebookSentence(notebook('n', status, annotations), now);
  expect(says({})).toBe('Waiting until the box makes its pod.');
  expect(says({ phase: 'Waiting', message: 'waits: needs 1.5 CPUs, 1.0 of 2 are held' })).toBe('Waiting: needs 1.5 CPUs, 1.0 of 2 are held.');
  expect(says({ phase: 'Starting' })).toBe('Starting: the server comes up.');
  expect(says({ phase: 'Starting', message: 'starts again: before, the server exited with code 1' })).toBe('Starts again: before, the server exited with code 1.');
  expect(says({ phase: 'Running', containerState: { running: { startedAt: '2026-01-01T00:00:00Z' } } })).toBe('Running for 1 min.');
  expect(says({ phase: 'Running', message: 'was started again: before, it ran out of memory' })).toBe('Running. It was started again: before, it ran out of memory.');
  expect(says({ phase: 'Stopped' }, stopped)).toBe('Stopped 1 min ago. Its volumes are kept.');
  expect(says({ phase: 'Stopped', message: 'stopped because nobody had worked in it for 2h' }, stopped)).toBe('Stopped because nobody had worked in it for 2h.');
  expect(says({ phase: 'Failed', message: 'no such image!' })).toBe('Failed: no such image!');
  expect(notebookState(notebook('n', { phase: 'Odd' }))).toBe('WAITING');
});

test('it is opened while it runs, starts, or would wake', () => {
  expect(['Waiting', 'Starting', 'Running', 'Stopping', 'Failed'].filter((phase) => canOpen(notebook('n', { phase })))).toEqual(['Starting', 'Running']);
  expect(canOpen(notebook('n', { phase: 'Stopped' }, stopped))).toBe(false);
  expect(canOpen(notebook('n', { phase: 'Stopped' }, { ...stopped, 'kfbox.dev/culled': '2h' }))).toBe(true);
  // It is told to stop, and still runs for a moment.
  expect(canOpen(notebook('n', { phase: 'Running' }, stopped))).toBe(false);
});

test('small words', () => {
  expect(shortImage('registry.example:5000/a/scipy:v1@sha256:abc')).toBe('scipy:v1');
  expect(askedWords(notebook('n'))).toBe('Nothing set');
  const big = notebook('n');
  Object.assign(big.spec?.template?.spec?.containers?.[0] ?? {}, { resources: { requests: { cpu: '500m' }, limits: { cpu: '1', memory: '3Gi' } } });
  expect(askedWords(big)).toBe('0.5 CPUs, 3 GiB');
  expect(idleTimeout(notebook('n', {}, { 'kfbox.dev/idle-timeout': '0' }))).toBe('');
  expect(mountsOf(notebook('n', {}, {}, ['a']))).toEqual([{ path: '/a', readOnly: false, claim: 'a' }]);
  const preset = (name: string, matchLabels: Record<string, string>) => ({ metadata: { name }, spec: { selector: { matchLabels } } }) as PodDefaultObject;
  expect(presetsOf(notebook('n'), [preset('a', { x: '1' }), preset('b', { x: '2' })]).map((each) => each.metadata.name)).toEqual(['a']);
});

test('volumes go with it only when nobody else has them', () => {
  const a = notebook('a', {}, {}, ['a-workspace', 'shared', 'with-b', 'with-pod', 'was']);
  const b = notebook('b', {}, stopped, ['with-b']);
  const all = [a, b, pod('a-0', ['a-workspace', 'shared'], 'a'), pod('other', ['with-pod']), pod('done', ['was'], undefined, 'Succeeded')];
  expect(claimsOnlyOf([a], all)).toEqual(['a-workspace', 'shared', 'was']);
  expect(claimsOnlyOf([a, b], all)).toEqual(['a-workspace', 'shared', 'was', 'with-b']);
  // A notebook that is stopped needs its volume again; its pod is not told beside it.
  const mounters = mountersOf(all);
  expect(mounters.get('with-b')).toEqual([{ name: 'a', notebook: true }, { name: 'b', notebook: true }]);
  expect(mounters.get('a-workspace')).toEqual([{ name: 'a', notebook: true }]);
  expect(mounters.get('with-pod')).toEqual([{ name: 'a', notebook: true }, { name: 'other', notebook: false }]);
});
