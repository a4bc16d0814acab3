// A job from YAML: an example to start from, or a copy of another job.
import { NativeSelect } from '@mantine/core';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { lazy, Suspense } from 'react';
import { stringify } from 'yaml';
import { NAMESPACE } from '../api/hooks';
import { kube, useJob } from '../api/kube';
import type { KubeObject } from '../api/types';
import { toastDone } from '../components/feedback';
import { Loading, Page } from '../components/Page';
import { patient } from '../lib/chunk';
import { JOB_EXAMPLES } from '../lib/jobExamples';
import { kindAt, kindOf, manifest } from '../lib/jobs';

const ManifestEditor = lazy(patient(() => import('../components/ManifestEditor')));
const route = getRouteApi('/app/jobs/new');

export function NewJob() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const navigate = useNavigate({ from: '/jobs/new' });
  // "tfjobs/name": what is copied.
  const [plural = '', name = ''] = (search.clone ?? '').split('/');
  const copied = useJob(kindAt(plural), ns, name).items;
  const example = JOB_EXAMPLES.find((each) => each.name === search.example) ?? JOB_EXAMPLES[0];
  const original = copied?.[0];
  const waiting = name !== '' && copied === undefined;
  const start = name !== '' && original !== undefined ? stringify(manifest(original, `${name}-copy`)) : (example?.text ?? '');
  const done = (made: KubeObject) => {
    toastDone(`${made.metadata.name} was created.`);
    const to = kindOf(made);
    if (to === undefined) void navigate({ to: '/jobs', search: { ns: search.ns } });
    else void navigate({ to: '/jobs/$ns/$plural/$name', params: { ns: made.metadata.namespace ?? ns, plural: to.plural, name: made.metadata.name } });
  };
  return (
    <Page title={name === '' ? 'Create a job' : `Clone ${name}`} crumbs={[{ label: 'Jobs', to: '/jobs' }]} subtitle={`In the namespace ${ns}. The box checks what you write as you type.`}>
      {name === '' && (
        <NativeSelect
          label="Start from"
          w={240}
          value={example?.name}
          onChange={(event) => void navigate({ search: (before) => ({ ...before, example: event.currentTarget.value }), replace: true })}
          data={JOB_EXAMPLES.map((each) => each.name)}
        />
      )}
      <Suspense fallback={<Loading what="the editor" />}>
        {waiting ? <Loading what="the job" /> : (
          <ManifestEditor key={start} label="YAML of the job" start={start} action="Create" send={(object, dryRun) => kube.create(object, ns, dryRun)} onDone={done} />
        )}
      </Suspense>
    </Page>
  );
}
