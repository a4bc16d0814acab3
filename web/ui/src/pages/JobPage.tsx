// One training job: its state in a sentence, replicas and conditions, each replica's log, events, YAML to read and edit.
import { Button, NativeSelect, Stack, Table, Tabs, Text, Title } from '@mantine/core';
import { IconCopyPlus, IconPlayerPause, IconPlayerPlay, IconTrash } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { ApiError } from '../api/http';
import { kube, useJob, usePods } from '../api/kube';
import type { JobObject, JsonMap, PodObject } from '../api/types';
import { EventTable } from '../components/EventTable';
import { attempt, useConfirm } from '../components/feedback';
import { LinkButton } from '../components/LinkButton';
import { LogView } from '../components/LogView';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { StateBadge } from '../components/State';
import { Age, useNow } from '../components/Time';
import { YamlTab } from '../components/YamlTab';
import { byReplica, conditionSentence, isSuspended, jobEnded, jobSentence, jobState, kindAt, objectPath, podState, replicasOf, type JobKind } from '../lib/jobs';

const route = getRouteApi('/app/jobs/$ns/$plural/$name');
const crumbs = [{ label: 'Jobs', to: '/jobs' }];

export function JobPage() {
  const { plural } = route.useParams();
  const kind = kindAt(plural);
  if (kind === undefined) {
    return <Page title="Job" crumbs={crumbs}><Problem error={new ApiError(404, `the box has no kind of job "${plural}"`)} what="job" /></Page>;
  }
  return <Found kind={kind} />;
}

function Found({ kind }: { kind: JobKind }) {
  const { ns, name } = route.useParams();
  const { items, error } = useJob(kind, ns, name);
  const job = items?.[0];
  const missing = items !== undefined && job === undefined ? new ApiError(404, `${kind.plural} "${name}" is not in the namespace ${ns}`) : null;
  if ((error ?? missing) !== null) {
    return <Page title={name} crumbs={crumbs}><Problem error={(error ?? missing) as Error} what="job" /></Page>;
  }
  return job === undefined ? <Loading what="the job" /> : <JobView kind={kind} job={job} />;
}

function JobView({ kind, job }: { kind: JobKind; job: JobObject }) {
  const { ns, name } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/jobs/$ns/$plural/$name' });
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...patch }), replace: true });
  const pods = byReplica(usePods(ns, `${kind.label}=${name}`).items ?? []);
  const tab = search.tab ?? 'overview';
  const pod = pods.find((each) => each.metadata.name === search.pod) ?? pods[0];
  return (
    <Page
      full
      title={name}
      crumbs={crumbs}
      subtitle={
        <div style={{ display: 'flex', flexWrap: 'wrap', gap: '4px 10px', alignItems: 'center' }}>
          <StateBadge state={jobState(job)} large />
          <Sentence job={job} />
          <span>{job.kind} in {ns}, created <Age at={job.metadata.creationTimestamp} /></span>
        </div>
      }
      actions={<Actions kind={kind} job={job} />}
    >
      <Tabs value={tab} onChange={(next) => set({ tab: next ?? undefined })} keepMounted={false} style={{ flex: 1, display: 'flex', flexDirection: 'column' }}>
        <Tabs.List>
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          <Tabs.Tab value="logs">Logs</Tabs.Tab>
          <Tabs.Tab value="events">Events</Tabs.Tab>
          <Tabs.Tab value="yaml">YAML</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview" pt="sm"><Overview job={job} pods={pods} onLog={(to) => set({ tab: 'logs', pod: to })} /></Tabs.Panel>
        <Tabs.Panel value="logs" pt="sm" style={{ flex: 1, display: 'flex', flexDirection: 'column', gap: 8 }}>
          {pod === undefined ? (
            <Empty title="No pods">The job has no pods now, so there is no log.</Empty>
          ) : (
            <>
              <NativeSelect aria-label="Replica" w={320} value={pod.metadata.name} onChange={(event) => set({ pod: event.currentTarget.value })} data={pods.map((each) => each.metadata.name)} />
              <div className="kf-card" style={{ flex: 1, minHeight: 320, display: 'flex', flexDirection: 'column' }}>
                <LogView key={pod.metadata.uid} namespace={ns} pod={pod.metadata.name} active={podState(pod) === 'PENDING' || podState(pod) === 'RUNNING'} />
              </div>
            </>
          )}
        </Tabs.Panel>
        <Tabs.Panel value="events" pt="sm"><Events ns={ns} job={job} pods={pods} /></Tabs.Panel>
        <Tabs.Panel value="yaml" pt="sm" style={{ flex: 1, display: 'flex', flexDirection: 'column', gap: 8 }}>
          <YamlTab object={job} word="job" editing={search.edit === true} onEditing={(edit) => set({ edit: edit || undefined })} />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

/** Alone, so that the ticking clock redraws one line and not the page. */
function Sentence({ job }: { job: JobObject }) {
  const now = useNow();
  return <span style={{ color: 'var(--mantine-color-text)' }}>{jobSentence(job, Math.max(now, Date.now() - 1000))}</span>;
}

function Actions({ kind, job }: { kind: JobKind; job: JobObject }) {
  const { ns, name } = route.useParams();
  const confirm = useConfirm();
  const navigate = useNavigate();
  const path = objectPath(kind, ns, name);
  const suspend = async (to: boolean) => {
    const body: JsonMap = kind.replicas === undefined ? { suspend: to } : { runPolicy: { suspend: to } };
    const word = to ? 'suspended' : 'resumed';
    await attempt(() => kube.patch(path, { spec: body }), `${name} is ${word}.`, `The job could not be ${word}`);
  };
  const remove = async () => {
    if (!(await confirm({ title: `Delete ${name}?`, body: 'Its pods and their logs go with it.', confirm: 'Delete the job' }))) return;
    const ok = await attempt(() => kube.remove(path), `${name} was deleted.`, 'The job could not be deleted');
    if (ok) await navigate({ to: '/jobs', search: { ns } });
  };
  return (
    <>
      {!jobEnded(job) && (isSuspended(job) ? (
        <Button leftSection={<IconPlayerPlay size={15} aria-hidden />} onClick={() => void suspend(false)}>Resume</Button>
      ) : (
        <Button variant="default" leftSection={<IconPlayerPause size={15} aria-hidden />} onClick={() => void suspend(true)}>Suspend</Button>
      ))}
      <LinkButton to="/jobs/new" search={{ ns, clone: `${kind.plural}/${name}` }} variant="default" leftSection={<IconCopyPlus size={15} aria-hidden />}>Clone</LinkButton>
      <Button variant="default" leftSection={<IconTrash size={15} aria-hidden />} onClick={() => void remove()}>Delete</Button>
    </>
  );
}

function Overview({ job, pods, onLog }: { job: JobObject; pods: PodObject[]; onLog: (pod: string) => void }) {
  const conditions = job.status?.conditions ?? [];
  return (
    <Stack gap="lg" maw={1000}>
      <section aria-label="Replicas">
        <Title order={2} mb="xs">Replicas</Title>
        <div className="kf-card">
          <Table fz="sm" aria-label="Replicas">
            <Table.Thead><Table.Tr><Table.Th>Type</Table.Th><Table.Th>Wanted</Table.Th><Table.Th>Active</Table.Th><Table.Th>Succeeded</Table.Th><Table.Th>Failed</Table.Th></Table.Tr></Table.Thead>
            <Table.Tbody>
              {replicasOf(job).map((row) => (
                <Table.Tr key={row.type}><Table.Td>{row.type}</Table.Td><Table.Td>{row.wanted}</Table.Td><Table.Td>{row.active}</Table.Td><Table.Td>{row.succeeded}</Table.Td><Table.Td>{row.failed}</Table.Td></Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </div>
      </section>
      <section aria-label="Pods">
        <Title order={2} mb="xs">Pods</Title>
        {pods.length === 0 ? <Text size="sm" c="dimmed">None now.</Text> : (
          <div className="kf-card">
            <Table fz="sm" aria-label="Pods">
              <Table.Thead><Table.Tr><Table.Th>Pod</Table.Th><Table.Th>State</Table.Th><Table.Th>Restarts</Table.Th><Table.Th>Address</Table.Th><Table.Th>Message</Table.Th><Table.Th><span className="kf-hidden">Log</span></Table.Th></Table.Tr></Table.Thead>
              <Table.Tbody>
                {pods.map((pod) => (
                  <Table.Tr key={pod.metadata.uid}>
                    <Table.Td>{pod.metadata.name}</Table.Td>
                    <Table.Td><StateBadge state={podState(pod)} /></Table.Td>
                    <Table.Td>{(pod.status?.containerStatuses ?? []).reduce((sum, each) => sum + (each.restartCount ?? 0), 0)}</Table.Td>
                    <Table.Td className="kf-mono">{pod.status?.podIP}</Table.Td>
                    <Table.Td>{pod.status?.message}</Table.Td>
                    <Table.Td><Button size="compact-xs" variant="default" aria-label={`Log of ${pod.metadata.name}`} onClick={() => onLog(pod.metadata.name)}>Log</Button></Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </div>
        )}
      </section>
      {conditions.length > 0 && (
        <section aria-label="Conditions">
          <Title order={2} mb="xs">What happened</Title>
          <div className="kf-card">
            <Table fz="sm" aria-label="Conditions">
              <Table.Tbody>
                {conditions.map((condition) => (
                  <Table.Tr key={condition.type}>
                    <Table.Td w={130}>{condition.type}{condition.status !== 'True' && ' (no longer)'}</Table.Td>
                    <Table.Td>{conditionSentence(condition)}</Table.Td>
                    <Table.Td w={120}><Age at={condition.lastTransitionTime} /></Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </div>
        </section>
      )}
    </Stack>
  );
}

function Events({ ns, job, pods }: { ns: string; job: JobObject; pods: PodObject[] }) {
  const ours = new Set([job.metadata.uid, ...pods.map((pod) => pod.metadata.uid)]);
  return <EventTable ns={ns} concerns={(event) => ours.has(event.involvedObject?.uid ?? '')} empty="What happens to the job and its pods is told here." />;
}
