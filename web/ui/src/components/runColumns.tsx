// The columns every list of runs shows.
import { Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { RunObject } from '../api/types';
import type { useNames } from '../api/hooks';
import { createdAt, runtime, title } from '../lib/runs';
import { look, runState } from '../lib/state';
import type { Column } from './DataTable';
import { StateBadge } from './State';
import { Age, Duration } from './Time';

type Names = ReturnType<typeof useNames>;

export function RunLink({ run }: { run: RunObject }) {
  return (
    <Link to="/runs/$runId" params={{ runId: run.metadata.name }} className="kf-link" style={{ fontWeight: 500, overflowWrap: 'anywhere' }}>
      {title(run)}
    </Link>
  );
}

export function PipelineLink({ run, names }: { run: RunObject; names: Names }) {
  const id = run.spec.pipelineVersionReference?.pipelineId;
  if (id === undefined) return <Text span size="sm" c="dimmed">started from code</Text>;
  return (
    <Link to="/pipelines/$pipelineId" params={{ pipelineId: id }} className="kf-link">
      {names.pipeline(id) ?? id.slice(0, 8)}
    </Link>
  );
}

export function ExperimentLink({ id, names }: { id: string; names: Names }) {
  const name = names.experiment(id);
  if (name === undefined) return <Text span size="sm" c="dimmed">{id.slice(0, 8)}</Text>;
  return <Link to="/experiments/$experimentId" params={{ experimentId: id }} className="kf-link">{name}</Link>;
}

export function runColumns(names: Names): Column<RunObject>[] {
  return [
    { id: 'name', header: 'Run', sortBy: title, cell: (run) => <RunLink run={run} /> },
    { id: 'state', header: 'State', sortBy: (run) => look(runState(run)).word, cell: (run) => <StateBadge state={runState(run)} />, width: 130 },
    {
      id: 'pipeline',
      header: 'Pipeline',
      sortBy: (run) => names.pipeline(run.spec.pipelineVersionReference?.pipelineId) ?? '',
      cell: (run) => <PipelineLink run={run} names={names} />,
      minor: true,
    },
    {
      id: 'experiment',
      header: 'Experiment',
      sortBy: (run) => names.experiment(run.spec.experimentId) ?? '',
      cell: (run) =>
        run.spec.experimentId === undefined ? null : <ExperimentLink id={run.spec.experimentId} names={names} />,
      minor: true,
    },
    { id: 'duration', header: 'Duration', sortBy: (run) => runtime(run, Date.now()), cell: (run) => <Duration from={run.status?.startTime} to={run.status?.finishTime} />, width: 110, minor: true },
    { id: 'created', header: 'Started', sortBy: createdAt, cell: (run) => <Age at={createdAt(run)} />, width: 110 },
  ];
}
