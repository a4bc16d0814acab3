// One page of runs, chosen, sorted and cut by the box, and kept current by what the watch tells.
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useRef } from 'react';
import { fromKfp, kfpFilter, kfpSort, revise, type RunFilter } from '../lib/runs';
import { RUNS } from './hooks';
import { kfp } from './kfp';
import { queryClient } from './queryClient';
import type { RunObject } from './types';
import { useChanges, type OnChanges } from './watch';

/** At most one question to the box in this time, however much happens. */
const ASK_MS = 1_000;

interface RunPage {
  rows: readonly RunObject[];
  total: number;
  /** The token of the page after this one. */
  next?: string;
}

export interface RunPageQuery {
  filter: RunFilter;
  sort: string;
  size: number;
  /** The token that the page before this one ended with; none: the first page. */
  after?: string;
}

export function useRunPage({ filter: { q, state, experiment, archived }, sort, size, after }: RunPageQuery) {
  const filter = useMemo(() => ({ q, state, experiment, archived }), [q, state, experiment, archived]);
  const key = useMemo(() => ['runs', filter, sort, size, after ?? ''], [filter, sort, size, after]);

  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const onChanges = useCallback<OnChanges>(
    (events) => {
      const ask = () => {
        timer.current ??= setTimeout(() => {
          timer.current = undefined;
          void queryClient.invalidateQueries({ queryKey: key, exact: true });
        }, ASK_MS);
      };
      const page = queryClient.getQueryData<RunPage>(key);
      if (events === undefined || page === undefined) {
        ask();
        return;
      }
      const revised = revise(page.rows, events, filter, after === undefined);
      if (revised.rows !== page.rows) {
        queryClient.setQueryData<RunPage>(key, { ...page, rows: revised.rows, total: page.total - (page.rows.length - revised.rows.length) });
      }
      // An answer on its way may be from before this change.
      if (revised.ask || queryClient.isFetching({ queryKey: key, exact: true }) > 0) ask();
    },
    [key, filter, after],
  );
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      timer.current = undefined;
    },
    [key],
  );
  const ready = useChanges(RUNS, onChanges);

  return useQuery({
    queryKey: key,
    queryFn: async ({ signal }): Promise<RunPage> => {
      const page = await kfp.runs({ experiment_id: experiment, filter: kfpFilter(filter), sort_by: kfpSort(sort), page_size: size, page_token: after }, signal);
      return { rows: (page.runs ?? []).map(fromKfp), total: page.total_size ?? 0, next: page.next_page_token };
    },
    enabled: ready,
    // Nothing keeps a page current that nobody looks at.
    staleTime: 0,
    placeholderData: keepPreviousData,
  });
}
