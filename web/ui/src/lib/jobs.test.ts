// What a job's object says in words, and the manifests that the pages make.
import { expect, test } from 'vitest';
import type { JobObject } from '../api/types';
import { conditionSentence, JOB_KINDS, jobSentence, jobState, manifest, objectPath, replicasOf } from './jobs';
import { fieldErrors, fieldPath, locate, parseManifest } from './manifest';

const job = (patch: object = {}): JobObject =>
  ({
    apiVersion: 'kubeflow.org/v1',
    kind: 'TFJob',
    metadata: { name: 'j', namespace: 'ns', uid: 'u', resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { tfReplicaSpecs: { PS: {}, Worker: { replicas: 2 } } },
    ...patch,
  }) as JobObject;
const held = (...types: string[]) => ({ status: { conditions: types.map((type) => ({ type, status: 'True' })) } });

test('states follow the conditions of every kind', () => {
  expect(jobState(job())).toBe('PENDING');
  expect(jobState(job(held('Created', 'Running')))).toBe('RUNNING');
  expect(jobState(job(held('Created', 'Succeeded')))).toBe('SUCCEEDED');
  expect(jobState(job(held('Failed', 'Running')))).toBe('FAILED');
  expect(jobState(job({ spec: { runPolicy: { suspend: true } } }))).toBe('SUSPENDED');
  expect(jobState(job({ kind: 'Job', apiVersion: 'batch/v1', spec: {}, status: { active: 1 } }))).toBe('RUNNING');
  expect(jobState(job({ kind: 'Job', apiVersion: 'batch/v1', spec: {}, ...held('Complete') }))).toBe('SUCCEEDED');
});

test('replicas count one where nothing is said', () => {
  expect(replicasOf(job({ status: { replicaStatuses: { Worker: { active: 1, succeeded: 1 } } } }))).toEqual([
    { type: 'PS', wanted: 1, active: 0, succeeded: 0, failed: 0 },
    { type: 'Worker', wanted: 2, active: 1, succeeded: 1, failed: 0 },
  ]);
  const train = job({ kind: 'TrainJob', apiVersion: 'trainer.kubeflow.org/v1alpha1', spec: { trainer: { numNodes: 2 } } });
  expect(replicasOf(train)).toEqual([{ type: 'node', wanted: 2, active: 0, succeeded: 0, failed: 0 }]);
});

test('sentences', () => {
  const failed = job({ status: { startTime: '2026-01-01T00:00:00Z', completionTime: '2026-01-01T00:00:05Z', conditions: [{ type: 'Failed', status: 'True', message: 'worker-0 exited with code 3.' }] } });
  expect(jobSentence(failed, 0)).toBe('Failed after 5 s. worker-0 exited with code 3.');
  expect(conditionSentence({ type: 'Running', status: 'False', reason: 'Done' })).toBe('It is not running (Done).');
});

test('every kind has its address', () => {
  expect(JOB_KINDS.map((k) => k.plural)).toContain('pytorchjobs');
  expect(objectPath({ group: '', version: 'v1', plural: 'persistentvolumeclaims' }, 'a')).toBe('/api/v1/namespaces/a/persistentvolumeclaims');
  expect(objectPath({ group: 'batch', version: 'v1', plural: 'jobs' }, 'a', 'b')).toBe('/apis/batch/v1/namespaces/a/jobs/b');
});

test('errors find their field and their line', () => {
  expect(fieldErrors('strict decoding error: unknown field "spec.x"')).toEqual([{ field: 'spec.x', message: 'there is no field spec.x' }]);
  expect(fieldErrors('TFJob j is invalid: spec.tfReplicaSpecs.Worker.replicas: must be 0 or more')).toEqual([
    { field: 'spec.tfReplicaSpecs.Worker.replicas', message: 'must be 0 or more' },
  ]);
  expect(fieldErrors('no', [{ field: 'metadata.name', message: 'too long' }])).toEqual([{ field: 'metadata.name', message: 'too long' }]);
  expect(fieldErrors('the box is full')).toEqual([{ message: 'the box is full' }]);
  expect(fieldPath('spec.a[0].b["c.d"]')).toEqual(['spec', 'a', 0, 'b', 'c.d']);
  const text = 'kind: X\nspec:\n  containers:\n    - name: a\n      image: b\n';
  const line = (field: string) => locate(text, [{ field, message: '' }])[0]?.line;
  expect(line('spec.containers[0].image')).toBe(5);
  expect(line('spec.containers')).toBe(3);
  expect(line('spec.missing.deep')).toBe(2);
  expect(line('metadata')).toBeUndefined();
});

test('text that is no manifest is said so at its line', () => {
  expect(parseManifest('a: [').errors[0]?.line).toBe(1);
  expect(parseManifest('- a').errors).toHaveLength(1);
  expect(parseManifest('kind: X').errors[0]?.message).toContain('apiVersion');
  expect(parseManifest('kind: X\napiVersion: v1').object).toEqual({ kind: 'X', apiVersion: 'v1' });
});

test('a clone leaves out what the box adds', () => {
  expect(manifest(job({ status: {} }), 'k')).toEqual({
    apiVersion: 'kubeflow.org/v1',
    kind: 'TFJob',
    metadata: { name: 'k', namespace: 'ns' },
    spec: { tfReplicaSpecs: { PS: {}, Worker: { replicas: 2 } } },
  });
});
