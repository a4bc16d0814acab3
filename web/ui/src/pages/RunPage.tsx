// One run: its state in a sentence, its graph as it happens, its steps, outputs, facts and YAML.
import { Tabs } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { lazy, Suspense, useCallback, useMemo } from 'react';
import { useNames, useRunDetails, useRunObject, useTasks } from '../api/hooks';
import { ApiError } from '../api/http';
import type { KfpRun, RunObject, TaskObject } from '../api/types';
import { Loading, Page, Problem } from '../components/Page';
import { RunActionBar } from '../components/RunActionBar';
import { RunDetails } from '../components/RunDetails';
import { ExperimentLink } from '../components/runColumns';
import { RunOutputs } from '../components/RunOutputs';
import { Split } from '../components/Split';
import { StateBadge } from '../components/State';
import { StepTable } from '../components/StepTable';
import { TaskPanel } from '../components/TaskPanel';
import { Age, useNow } from '../components/Time';
import { byPath } from '../graph/model';
import { flatten, stepCount, tree, unwrap, type IrTask } from '../lib/ir';
import { title } from '../lib/runs';
import { isArchived, runSentence, runState } from '../lib/state';
import { patient } from '../lib/chunk';

const CodeView = lazy(patient(() => import('../components/CodeView')));
const RunGraph = lazy(patient(() => import('../graph/RunGraph')));
const route = getRouteApi('/app/runs/$runId');
const crumbs = [{ label: 'Runs', to: '/runs' }];
const none: TaskObject[] = [];

export function RunPage() {
  const { runId } = route.useParams();
  const runs = useRunObject(runId);
  const tasks = useTasks(runId);
  const details = useRunDetails(runId);
  const run = runs.items?.[0];

  const failure =
    runs.error ??
    (runs.items !== undefined && run === undefined
      ? (details.error ?? (details.isPending ? null : new ApiError(404, `run ${runId} is not on this box`)))
      : null);
  if (failure !== null) {
    return <Page title="Run" crumbs={crumbs}><Problem error={failure} what="run" /></Page>;
  }
  if (run === undefined) return <Loading what="the run" />;
  return <RunView key={runId} run={run} tasks={tasks.items ?? none} details={details.data} />;
}

function RunView({ run, tasks, details }: { run: RunObject; tasks: TaskObject[]; details?: KfpRun }) {
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/runs/$runId' });
  const names = useNames();
  const narrow = useMediaQuery('(max-width: 48em)', false, { getInitialValueInEffect: false });
  const spec = useMemo(() => unwrap(details?.pipeline_spec), [details]);
  const ir = useMemo(() => (spec === undefined ? undefined : tree(spec)), [spec]);
  const states = useMemo(() => byPath(tasks), [tasks]);
  const set = useCallback(
    (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...patch }), replace: true }),
    [navigate],
  );
  const select = useCallback((path: string | undefined) => set(path === undefined ? { task: undefined, panel: undefined } : { task: path }), [set]);

  const tab = search.tab ?? (narrow ? 'steps' : 'graph');
  const chosenIr = useMemo(() => (ir === undefined || search.task === undefined ? undefined : flatten(ir).find((each) => each.path === search.task)), [ir, search.task]);
  const chosen = search.task === undefined ? undefined : states.get(search.task);
  const side =
    search.task !== undefined && (chosen !== undefined || chosenIr !== undefined) ? (
      <TaskPanel
        key={search.task}
        path={search.task}
        ir={chosenIr}
        task={chosen}
        inRun
        panel={search.panel}
        onPanel={(panel) => set({ panel })}
        onClose={() => select(undefined)}
      />
    ) : undefined;

  const pipelineId = run.spec.pipelineVersionReference?.pipelineId;
  return (
    <Page
      full
      tab={title(run)}
      title={title(run)}
      crumbs={crumbs}
      subtitle={
        <div style={{ display: 'flex', flexWrap: 'wrap', gap: '4px 10px', alignItems: 'center' }}>
          <StateBadge state={runState(run)} large />
          <Sentence run={run} tasks={tasks} ir={ir} />
          <span className="kf-prose">
            Started <Age at={run.metadata.creationTimestamp} />
            {pipelineId !== undefined && (
              <>
                {' '}from <Link to="/pipelines/$pipelineId" params={{ pipelineId }} search={{ version: run.spec.pipelineVersionReference?.pipelineVersionId }} className="kf-link">{names.pipeline(pipelineId) ?? 'its pipeline'}</Link>
              </>
            )}
            {run.spec.experimentId !== undefined && names.experiment(run.spec.experimentId) !== undefined && (
              <>
                {' '}in <ExperimentLink id={run.spec.experimentId} names={names} />
              </>
            )}
            {isArchived(run) && ' · archived'}
          </span>
        </div>
      }
      actions={<RunActionBar run={run} details={details} />}
    >
      <Tabs value={tab} onChange={(next) => set({ tab: next ?? undefined })} keepMounted={false} style={{ flex: 1, display: 'flex', flexDirection: 'column' }}>
        <Tabs.List>
          <Tabs.Tab value="graph">Graph</Tabs.Tab>
          <Tabs.Tab value="steps">Steps</Tabs.Tab>
          <Tabs.Tab value="outputs">Outputs</Tabs.Tab>
          <Tabs.Tab value="details">Details</Tabs.Tab>
          <Tabs.Tab value="yaml">YAML</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="graph" pt="sm" style={{ flex: 1, display: 'flex' }}>
          <Split
            main={
              ir === undefined ? (
                <Loading what="the graph" />
              ) : (
                <Suspense fallback={<Loading what="the graph" />}>
                  <RunGraph tasks={ir} states={states} selected={search.task} onSelect={select} />
                </Suspense>
              )
            }
            side={side}
          />
        </Tabs.Panel>
        <Tabs.Panel value="steps" pt="sm" style={{ flex: 1, display: 'flex' }}>
          <Split main={<StepTable ir={ir ?? []} states={states} selected={search.task} onSelect={select} />} side={side} />
        </Tabs.Panel>
        <Tabs.Panel value="outputs" pt="sm"><RunOutputs tasks={tasks} /></Tabs.Panel>
        <Tabs.Panel value="details" pt="sm"><RunDetails run={run} names={names} /></Tabs.Panel>
        <Tabs.Panel value="yaml" pt="sm" style={{ flex: 1, display: 'flex' }}>
          <Suspense fallback={<Loading what="the YAML" />}>
            {details?.pipeline_spec === undefined ? <Loading what="the YAML" /> : <CodeView value={details.pipeline_spec} name={title(run)} label="YAML of the pipeline that this run executes" />}
          </Suspense>
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

/** Alone, so that the ticking clock redraws one line and not the page. */
function Sentence({ run, tasks, ir }: { run: RunObject; tasks: TaskObject[]; ir?: IrTask[] }) {
  const now = useNow();
  return <span aria-live="off" style={{ color: 'var(--mantine-color-text)' }}>{runSentence(run, tasks, ir === undefined ? 0 : stepCount(ir), Math.max(now, Date.now() - 1000))}</span>;
}
