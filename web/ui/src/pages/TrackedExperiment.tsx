// The runs of a tracked experiment as a table: MLflow's search language, chosen columns, side by side in one click.
import { Button, Group, MultiSelect, Popover, Text, TextInput } from '@mantine/core';
import { IconColumns3, IconGitCompare, IconSearch } from '@tabler/icons-react';
import { keepPreviousData, useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { mlflow } from '../api/mlflow';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { attempt, useConfirm } from '../components/feedback';
import { StorageFilter } from '../components/filters';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { StateBadge } from '../components/State';
import { Age, Duration } from '../components/Time';
import { plural } from '../lib/format';
import { columnOf, columnsOf, shown, stateOf, tag, time, usualColumns, valueOf, type TrackedRun } from '../lib/tracking';

const route = getRouteApi('/app/tracking/$ns/experiments/$experimentId');
/** Between two looks for what clients have logged meanwhile, in milliseconds. */
const EVERY = 3000;
/** Runs that curves can still be told apart of. */
const MOST = 20;

export function TrackedExperiment() {
  const { ns, experimentId } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/tracking/$ns/experiments/$experimentId' });
  const client = useQueryClient();
  const confirm = useConfirm();
  const [typed, setTyped] = useState(search.filter ?? '');
  const about = useQuery({ queryKey: ['tracked-experiment', ns, experimentId], queryFn: ({ signal }) => mlflow.experiment(ns, experimentId, signal) });
  const sort = search.sort ?? '-attributes.start_time';
  const order = `${sort.replace(/^-/, '')} ${sort.startsWith('-') ? 'DESC' : 'ASC'}`;
  const deleted = search.archived ?? false;
  const asked = { filter: search.filter, order, deleted };
  const key = ['tracked-runs', ns, experimentId, asked];
  const { data, error, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: key,
    queryFn: ({ signal, pageParam }) => mlflow.runs(ns, experimentId, { ...asked, after: pageParam }, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_page_token,
    refetchInterval: EVERY,
    placeholderData: keepPreviousData,
    retry: false,
  });
  const runs = useMemo(() => (data?.pages ?? []).flatMap((page) => page.runs ?? []), [data]);
  const all = useMemo(() => columnsOf(runs), [runs]);
  const chosen = search.columns?.split(',').filter((id) => columnOf(id) !== undefined) ?? usualColumns(all);
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...patch }), replace: true });
  const again = () => client.invalidateQueries({ queryKey: ['tracked-runs', ns, experimentId] });

  const move = async (which: TrackedRun[], clear: () => void) => {
    const words = plural(which.length, 'run');
    if (!deleted && !(await confirm({ title: `Delete ${words}?`, body: 'They can be restored for 30 days; then their files go, too.', confirm: 'Delete' }))) return;
    const act = deleted ? mlflow.restoreRun : mlflow.deleteRun;
    const each = async () => {
      for (const run of which) await act(ns, run.info.run_id);
    };
    await attempt(each, `${words} ${deleted ? 'restored' : 'deleted'}.`, `Not every run could be ${deleted ? 'restored' : 'deleted'}`);
    clear();
    await again();
  };

  const columns: Column<TrackedRun>[] = [
    {
      id: 'attributes.run_name',
      header: 'Run',
      sortBy: (run) => run.info.run_name,
      cell: (run) => (
        <Link to="/tracking/$ns/runs/$runId" params={{ ns, runId: run.info.run_id }} className="kf-link" style={{ paddingLeft: tag(run, 'mlflow.parentRunId') === undefined ? 0 : 14 }}>
          {run.info.run_name || run.info.run_id}
        </Link>
      ),
    },
    { id: 'attributes.status', header: 'State', sortBy: (run) => run.info.status, cell: (run) => <StateBadge state={stateOf(run)} />, width: 110 },
    { id: 'attributes.start_time', header: 'Started', sortBy: (run) => run.info.start_time, cell: (run) => <Age at={time(run.info.start_time)} />, width: 120 },
    { id: 'duration', header: 'Took', cell: (run) => <Duration from={time(run.info.start_time)} to={time(run.info.end_time)} />, width: 100, minor: true },
    ...chosen.map((id): Column<TrackedRun> => ({
      id,
      header: columnOf(id)?.key ?? id,
      sortBy: (run) => valueOf(run, id) ?? '',
      cell: (run) => <span style={{ overflowWrap: 'anywhere' }}>{shown(valueOf(run, id))}</span>,
      align: id.startsWith('metrics.') ? 'right' : undefined,
    })),
  ];

  const crumbs = [{ label: 'Tracking', to: `/tracking?ns=${ns}` }];
  if (about.error !== null) return <Page title="Experiment" crumbs={crumbs}><Problem error={about.error} what="experiment" onRetry={() => void about.refetch()} /></Page>;
  if (about.data === undefined) return <Loading what="the experiment" />;
  return (
    <Page title={about.data.name} crumbs={crumbs} subtitle={<>Experiment {experimentId}, made <Age at={time(about.data.creation_time)} /></>}>
      <Group gap="sm" align="flex-end" wrap="wrap">
        <form style={{ flex: '1 1 320px' }} onSubmit={(event) => { event.preventDefault(); set({ filter: typed.trim() || undefined }); }}>
          <TextInput
            aria-label="Search the runs"
            placeholder="metrics.loss < 0.1 and params.rate = '0.01'"
            leftSection={<IconSearch size={14} aria-hidden />}
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            onBlur={() => set({ filter: typed.trim() || undefined })}
          />
        </form>
        <StorageFilter archived={deleted} onChange={(archived) => set({ archived })} />
        <Popover width={360} position="bottom-end" trapFocus withinPortal>
          <Popover.Target><Button variant="default" leftSection={<IconColumns3 size={15} aria-hidden />}>Columns</Button></Popover.Target>
          <Popover.Dropdown>
            <MultiSelect label="Columns" data={[...new Set([...chosen, ...all])]} value={chosen} onChange={(next) => set({ columns: next.join(',') || 'none' })} searchable comboboxProps={{ withinPortal: false }} maxDropdownHeight={260} />
          </Popover.Dropdown>
        </Popover>
      </Group>
      {error !== null && <ErrorNote title="The search cannot be answered">{error.message}</ErrorNote>}
      {error === null && data === undefined ? <Loading what="runs" /> : (
        <DataTable
          label="Tracked runs"
          rows={error === null ? runs : []}
          columns={columns}
          rowId={(run) => run.info.run_id}
          rowLabel={(run) => run.info.run_name}
          view={{ sort }}
          defaultSort="-attributes.start_time"
          onView={(view) => set({ sort: view.sort })}
          pageSize={Math.max(1, runs.length)}
          remote={{ total: runs.length }}
          empty={<Empty title={search.filter === undefined ? (deleted ? 'No deleted runs' : 'No runs yet') : 'No run is like this'}>{search.filter === undefined && !deleted ? <>In Python: <code>mlflow.set_experiment(&quot;{about.data.name}&quot;)</code>, then <code>mlflow.start_run()</code>.</> : undefined}</Empty>}
          bulk={(selected, clear) => (
            <>
              {selected.length > 1 && (
                <Button size="compact-xs" leftSection={<IconGitCompare size={13} aria-hidden />} disabled={selected.length > MOST} title={selected.length > MOST ? `At most ${MOST} at once` : undefined} onClick={() => void navigate({ to: '/tracking/$ns/compare', params: { ns }, search: { runs: selected.map((run) => run.info.run_id).join(',') } })}>Compare</Button>
              )}
              <Button size="compact-xs" variant="default" onClick={() => void move(selected, clear)}>{deleted ? 'Restore' : 'Delete'}</Button>
            </>
          )}
        />
      )}
      {hasNextPage && (
        <Group justify="center">
          <Button variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more runs</Button>
          <Text size="sm" c="dimmed">{runs.length} shown</Text>
        </Group>
      )}
    </Page>
  );
}
