// Home: what runs, what failed lately, what to do next.
import { Group, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { IconNotebook, IconPlayerPlay, IconUpload } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useMemo, type ReactNode } from 'react';
import { NAMESPACE, useNames, usePipelines, useRuns } from '../api/hooks';
import { useNotebooks } from '../api/notebooks';
import type { RunObject, RunState } from '../api/types';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { FirstSteps } from '../components/FirstSteps';
import { RunLink } from '../components/runColumns';
import { StateBadge, StateIcon } from '../components/State';
import { Age, Duration } from '../components/Time';
import { parseTime, plural } from '../lib/format';
import { notebookState } from '../lib/notebooks';
import { createdAt, newestFirst } from '../lib/runs';
import { isArchived, runState, type AnyState } from '../lib/state';
import classes from './Home.module.css';
import { LinkButton } from '../components/LinkButton';

const DAY = 24 * 60 * 60 * 1000;

export function Home() {
  const { items, error } = useRuns();
  const pipelines = usePipelines();
  const notebooks = useNotebooks(NAMESPACE);
  const serving = notebooks.items?.filter((each) => notebookState(each) === 'SERVING').length;
  const names = useNames();
  const runs = useMemo(() => newestFirst(items ?? []).filter((run) => !isArchived(run)), [items]);

  const view = useMemo(() => {
    const since = Date.now() - DAY;
    const lately = (run: RunObject) => (parseTime(run.status?.finishTime) ?? parseTime(createdAt(run)) ?? 0) >= since;
    const inState = (...states: RunState[]) => runs.filter((run) => states.includes(runState(run)));
    return {
      active: inState('RUNNING', 'PENDING', 'CANCELING', 'PAUSED'),
      failed: inState('FAILED').filter(lately),
      succeeded: inState('SUCCEEDED').filter(lately),
    };
  }, [runs]);

  const actions = (
    <>
      <LinkButton to="/runs/new" leftSection={<IconPlayerPlay size={15} aria-hidden />}>Start a run</LinkButton>
      <LinkButton to="/notebooks/new" variant="default" leftSection={<IconNotebook size={15} aria-hidden />}>New notebook</LinkButton>
      <LinkButton to="/pipelines" search={{ upload: true }} variant="default" leftSection={<IconUpload size={15} aria-hidden />}>Upload a pipeline</LinkButton>
    </>
  );

  if (error !== null) return <Page title="Home"><Problem error={error} what="list of runs" /></Page>;
  const unknown = items?.length === 0 && notebooks.items === undefined && notebooks.error === null;
  if (items === undefined || unknown) return <Page title="Home" actions={actions}><Loading what="what is going on" /></Page>;
  if (runs.length === 0 && (notebooks.items ?? []).length === 0) {
    return (
      <Page title="Home" subtitle="The box is ready. Nothing has run on it yet." actions={actions}>
        <FirstSteps pipelines={pipelines.data?.length ?? 0} />
      </Page>
    );
  }

  return (
    <Page title="Home" subtitle={sentence(view.active.length, view.failed.length, serving ?? 0)} actions={actions}>
      <SimpleGrid cols={{ base: 2, sm: 3, md: 5 }} spacing="sm">
        <Count label="Running now" count={view.active.length} state="RUNNING" to="/runs" search={{ state: 'RUNNING' }} />
        <Count label="Failed in 24 h" count={view.failed.length} state="FAILED" to="/runs" search={{ state: 'FAILED' }} />
        <Count label="Succeeded in 24 h" count={view.succeeded.length} state="SUCCEEDED" to="/runs" search={{ state: 'SUCCEEDED' }} />
        <Count label="Notebooks running" count={serving} state="SERVING" to="/notebooks" search={{ state: 'SERVING' }} />
        <Count label="Pipelines" count={pipelines.data?.length} to="/pipelines" />
      </SimpleGrid>
      <div className={classes.columns}>
        <Card title="Running now">
          {view.active.length === 0 ? (
            <Text size="sm" c="dimmed" p="md">No run is going on.</Text>
          ) : (
            <RunLines runs={view.active.slice(0, 8)} names={names} time={(run) => <Duration from={run.status?.startTime ?? createdAt(run)} to={undefined} />} />
          )}
        </Card>
        <Card title="Failed in the last 24 hours">
          {view.failed.length === 0 ? (
            <Text size="sm" c="dimmed" p="md">No run has failed.</Text>
          ) : (
            <RunLines runs={view.failed.slice(0, 8)} names={names} time={(run) => <Age at={run.status?.finishTime ?? createdAt(run)} />} message />
          )}
        </Card>
      </div>
      <Card title="Latest runs" more={<Link to="/runs" className="kf-link">All runs</Link>}>
        {runs.length === 0 ? <Empty title="No runs yet" /> : <RunLines runs={runs.slice(0, 10)} names={names} time={(run) => <Age at={createdAt(run)} />} />}
      </Card>
    </Page>
  );
}

function sentence(active: number, failed: number, notebooks: number): string {
  const none = notebooks === 0 ? 'Nothing is running' : 'No run is going on';
  const runs = active === 0 ? none : active === 1 ? 'One run is going on' : `${active} runs are going on`;
  const all = notebooks === 0 ? '' : ` ${plural(notebooks, 'notebook')} ${notebooks === 1 ? 'is' : 'are'} up.`;
  return failed === 0 ? `${runs}, and nothing failed in the last 24 hours.${all}` : `${runs}; ${failed} failed in the last 24 hours.${all}`;
}

interface CountProps {
  label: string;
  count: number | undefined;
  state?: AnyState;
  to: '/runs' | '/pipelines' | '/notebooks';
  search?: { state?: string };
}
function Count({ label, count, state, to, search }: CountProps) {
  const quiet = count === 0 || state === undefined;
  return (
    <Link to={to} search={search ?? {}} className={`kf-card ${classes.count}`}>
      <Group gap={6} wrap="nowrap">
        {state !== undefined && <StateIcon state={quiet && state !== 'SUCCEEDED' ? 'SKIPPED' : state} size={15} />}
        <Text span size="sm" c="dimmed">{label}</Text>
      </Group>
      <span className={classes.number}>{count ?? '–'}</span>
    </Link>
  );
}

function Card({ title, more, children }: { title: string; more?: ReactNode; children: ReactNode }) {
  return (
    <section className="kf-card" aria-label={title}>
      <Group justify="space-between" className={classes.head}>
        <Title order={2} size="h3">{title}</Title>
        {more !== undefined && <Text component="span" size="sm">{more}</Text>}
      </Group>
      {children}
    </section>
  );
}

interface LinesProps {
  runs: RunObject[];
  names: ReturnType<typeof useNames>;
  time: (run: RunObject) => ReactNode;
  message?: boolean;
}
function RunLines({ runs, names, time, message = false }: LinesProps) {
  return (
    <ul className={classes.lines}>
      {runs.map((run) => (
        <li key={run.metadata.name}>
          <StateBadge state={runState(run)} />
          <Stack gap={0} className={classes.words}>
            <Text component="div" size="sm" truncate><RunLink run={run} /></Text>
            <Text component="div" size="xs" c="dimmed" truncate>
              {message && run.status?.message !== undefined ? run.status.message : (names.pipeline(run.spec.pipelineVersionReference?.pipelineId) ?? 'started from code')}
            </Text>
          </Stack>
          <Text span size="xs" c="dimmed">{time(run)}</Text>
        </li>
      ))}
    </ul>
  );
}
