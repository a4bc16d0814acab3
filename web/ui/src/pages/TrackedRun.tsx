// One tracked run: what it was given, what it measured, its curves as they grow, its files, its models.
import { Button, Table, Tabs, Text, Title } from '@mantine/core';
import { IconArrowBackUp, IconSitemap, IconTrash } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { mlflow } from '../api/mlflow';
import { CopyButton } from '../components/CopyAs';
import { attempt, useConfirm } from '../components/feedback';
import { LinkButton } from '../components/LinkButton';
import { Loading, Page, Problem } from '../components/Page';
import { RegisterModel } from '../components/RegisterModel';
import { RunCurves } from '../components/RunCurves';
import { StateBadge } from '../components/State';
import { TrackedFiles } from '../components/TrackedFiles';
import { Age, Duration } from '../components/Time';
import { dateTime } from '../lib/format';
import { ownTags, shown, stateOf, tag, time, type TrackedRun as Run } from '../lib/tracking';

const route = getRouteApi('/app/tracking/$ns/runs/$runId');
/** Between two looks at a run that goes on, and at one that has ended, in milliseconds. */
const EVERY = 2000;
const SELDOM = 15_000;

export function TrackedRun() {
  const { ns, runId } = route.useParams();
  const { tab = 'overview' } = route.useSearch();
  const navigate = useNavigate({ from: '/tracking/$ns/runs/$runId' });
  const client = useQueryClient();
  const confirm = useConfirm();
  const { data: run, error, refetch } = useQuery({
    queryKey: ['tracked-run', ns, runId],
    queryFn: ({ signal }) => mlflow.run(ns, runId, signal),
    refetchInterval: (query) => (query.state.data?.info.status === 'RUNNING' ? EVERY : SELDOM),
  });
  const crumbs = [{ label: 'Tracking', to: `/tracking?ns=${ns}` }];
  const experiment = useQuery({
    queryKey: ['tracked-experiment', ns, run?.info.experiment_id],
    queryFn: ({ signal }) => mlflow.experiment(ns, run?.info.experiment_id ?? '', signal),
    enabled: run !== undefined,
  });
  if (error !== null && run === undefined) return <Page title="Run" crumbs={crumbs}><Problem error={error} what="run" onRetry={() => void refetch()} /></Page>;
  if (run === undefined) return <Loading what="the run" />;
  const { info } = run;
  const name = info.run_name || info.run_id;
  const gone = info.lifecycle_stage === 'deleted';
  const move = async () => {
    if (!gone && !(await confirm({ title: `Delete the run ${name}?`, body: 'It can be restored for 30 days; then its files go, too.', confirm: 'Delete the run' }))) return;
    await attempt(() => (gone ? mlflow.restoreRun : mlflow.deleteRun)(ns, runId), `${name} is ${gone ? 'back' : 'deleted'}.`, `The run could not be ${gone ? 'restored' : 'deleted'}`);
    await client.invalidateQueries({ queryKey: ['tracked-run', ns, runId] });
  };
  const parent = tag(run, 'mlflow.parentRunId');
  const note = tag(run, 'mlflow.note.content');
  return (
    <Page
      title={name}
      crumbs={[...crumbs, { label: experiment.data?.name ?? info.experiment_id, to: `/tracking/${encodeURIComponent(ns)}/experiments/${info.experiment_id}` }]}
      subtitle={
        <>
          {note !== undefined && <div style={{ color: 'var(--mantine-color-text)', whiteSpace: 'pre-line', maxWidth: '80ch' }}>{note}</div>}
          <div style={{ display: 'flex', flexWrap: 'wrap', gap: '4px 10px', alignItems: 'center' }}>
            <StateBadge state={stateOf(run)} large />
            <span>Started <Age at={time(info.start_time)} /> {info.user_id === '' ? '' : `by ${info.user_id}`}, {info.end_time === undefined ? 'for' : 'took'} <Duration from={time(info.start_time)} to={time(info.end_time)} /></span>
            {gone && <Text span size="sm" fw={600}>Deleted</Text>}
          </div>
        </>
      }
      actions={<><LinkButton to="/lineage" search={{ ns, of: `tracked-run/${runId}` }} variant="default" leftSection={<IconSitemap size={15} aria-hidden />}>Lineage</LinkButton><Button variant="default" leftSection={gone ? <IconArrowBackUp size={15} aria-hidden /> : <IconTrash size={15} aria-hidden />} onClick={() => void move()}>{gone ? 'Restore' : 'Delete'}</Button></>}
    >
      <Tabs value={tab} onChange={(next) => void navigate({ search: { tab: next === 'overview' ? undefined : (next ?? undefined) }, replace: true })} keepMounted={false}>
        <Tabs.List mb="sm">
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          <Tabs.Tab value="curves">Curves</Tabs.Tab>
          <Tabs.Tab value="files">Files</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview"><Overview ns={ns} run={run} parent={parent} /></Tabs.Panel>
        <Tabs.Panel value="curves"><RunCurves ns={ns} runs={[run]} every={info.status === 'RUNNING' ? EVERY : false} /></Tabs.Panel>
        <Tabs.Panel value="files"><TrackedFiles ns={ns} run={run} every={info.status === 'RUNNING' ? EVERY : false} /></Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Overview({ ns, run, parent }: { ns: string; run: Run; parent?: string }) {
  const { info, data } = run;
  const metrics = [...data.metrics].sort((a, b) => a.key.localeCompare(b.key));
  const inputs = run.inputs?.dataset_inputs ?? [];
  const models = run.outputs?.model_outputs ?? [];
  const source = tag(run, 'mlflow.source.name');
  const commit = tag(run, 'mlflow.source.git.commit');
  return (
    <div style={{ display: 'grid', gridTemplateColumns: 'repeat(auto-fit, minmax(min(340px, 100%), 1fr))', gap: 16, alignItems: 'start' }}>
      <Pairs title="Metrics" head={['Metric', 'Last value']} rows={metrics.map((m) => [m.key, shown(m.value)])} none="No metric has been logged." right />
      <Pairs title="Parameters" head={['Parameter', 'Value']} rows={[...data.params].sort((a, b) => a.key.localeCompare(b.key)).map((p) => [p.key, p.value])} none="No parameter has been logged." />
      <Pairs title="Tags" head={['Tag', 'Value']} rows={ownTags(run).map((t) => [t.key, t.value])} none="No tag has been set." />
      <section aria-label="About" className="kf-card" style={{ padding: 12 }}>
        <Title order={2} mb="xs">About</Title>
        <dl className="kf-facts">
          <dt>Started</dt><dd>{dateTime(time(info.start_time))}</dd>
          {info.end_time !== undefined && <><dt>Ended</dt><dd>{dateTime(time(info.end_time))}</dd></>}
          {source !== undefined && <><dt>Source</dt><dd className="kf-mono">{source}</dd></>}
          {commit !== undefined && <><dt>Commit</dt><dd className="kf-mono">{commit}</dd></>}
          {parent !== undefined && <><dt>Parent</dt><dd><Link to="/tracking/$ns/runs/$runId" params={{ ns, runId: parent }} className="kf-link">{parent}</Link></dd></>}
          {inputs.map(({ dataset }) => <InputFacts key={dataset.name + dataset.digest} name={dataset.name} digest={dataset.digest} />)}
          <dt>Run id</dt><dd className="kf-mono">{info.run_id} <CopyButton text={info.run_id} label="Copy the run id" /></dd>
        </dl>
      </section>
      {models.length > 0 && (
        <section aria-label="Models" className="kf-card" style={{ padding: 12 }}>
          <Title order={2} mb="xs">Models</Title>
          {models.map((model) => <RegisterModel key={model.model_id} ns={ns} runId={info.run_id} modelId={model.model_id} />)}
        </section>
      )}
    </div>
  );
}

function InputFacts({ name, digest }: { name: string; digest: string }) {
  return (
    <>
      <dt>Data</dt>
      <dd>{name} <span className="kf-mono">{digest}</span></dd>
    </>
  );
}

function Pairs({ title, head, rows, none, right = false }: { title: string; head: [string, string]; rows: [string, string][]; none: string; right?: boolean }) {
  return (
    <section aria-label={title} className="kf-card" style={{ padding: 12 }}>
      <Title order={2} mb="xs">{title}</Title>
      {rows.length === 0 ? <Text size="sm" c="dimmed">{none}</Text> : (
        <Table verticalSpacing={4} aria-label={title}>
          <Table.Thead className="kf-hidden"><Table.Tr><Table.Th>{head[0]}</Table.Th><Table.Th>{head[1]}</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {rows.map(([key, value]) => (
              <Table.Tr key={key}>
                <Table.Th scope="row" fw={500} style={{ overflowWrap: 'anywhere' }}>{key}</Table.Th>
                <Table.Td ta={right ? 'right' : undefined} style={{ overflowWrap: 'anywhere' }}>{value}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </section>
  );
}
