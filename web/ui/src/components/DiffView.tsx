// What differs between two folders of a data set, page by page.
import { Button, Group, Table, Text } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { datasets, type Change } from '../api/datasets';
import { bytes } from '../lib/format';
import { Empty, Loading, Problem } from './Page';

interface Props {
  ns: string;
  name: string;
  /** None: everything in `to` is new. */
  from?: string;
  to: string;
  /** How often to look again, in milliseconds; none: never. */
  every: number | false;
  /** What to say when nothing differs. */
  none: string;
}

const word = (change: Change): string => (change.before === undefined ? 'Added' : change.after === undefined ? 'Removed' : 'Changed');
const tone: Record<string, string> = { Added: 'var(--kf-ok)', Removed: 'var(--kf-bad)', Changed: 'var(--kf-wait)' };
const size = (count: number | undefined): string => (count === undefined ? '–' : bytes(count));

export function DiffView({ ns, name, from, to, every, none }: Props) {
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: ['diff', ns, name, from, to],
    queryFn: ({ signal, pageParam }) => datasets.diff(ns, name, from, to, pageParam, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    refetchInterval: every,
  });
  if (error !== null) return <Problem error={error} what="difference" onRetry={() => void refetch()} />;
  if (data === undefined) return <Loading what="what differs" />;
  const changes = data.pages.flatMap((page) => page.changes);
  if (changes.length === 0) return <Empty title={none} />;
  const folder = data.pages[0]?.to ?? to;
  return (
    <div className="kf-card" style={{ padding: 12 }}>
      <Table verticalSpacing={4} aria-label="What differs">
        <Table.Thead>
          <Table.Tr><Table.Th w={100}>Change</Table.Th><Table.Th>Path</Table.Th><Table.Th ta="right" w={110}>Before</Table.Th><Table.Th ta="right" w={110}>After</Table.Th></Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {changes.map((change) => (
            <Table.Tr key={change.path}>
              <Table.Td><Text span size="sm" c={tone[word(change)]}>{word(change)}</Text></Table.Td>
              <Table.Td style={{ overflowWrap: 'anywhere' }}>
                {change.after === undefined ? change.path : <Link to="/buckets/$ns/$bucket" params={{ ns, bucket: name }} search={{ prefix: `${folder}/${change.path}`.replace(/[^/]*$/, ''), object: `${folder}/${change.path}` }} className="kf-link">{change.path}</Link>}
              </Table.Td>
              <Table.Td ta="right">{size(change.before)}</Table.Td>
              <Table.Td ta="right">{size(change.after)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {hasNextPage && <Group justify="center" mt="sm"><Button variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button></Group>}
    </div>
  );
}
