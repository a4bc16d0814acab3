// What happened to an object and its pods, newest first.
import { Table } from '@mantine/core';
import { useEvents } from '../api/kube';
import type { EventObject } from '../api/types';
import { Empty, Loading, Problem } from './Page';
import { Age } from './Time';

const at = (event: EventObject) => event.lastTimestamp ?? event.metadata.creationTimestamp;

export function EventTable({ ns, concerns, empty }: { ns: string; concerns: (event: EventObject) => boolean; empty: string }) {
  const { items, error } = useEvents(ns);
  if (error !== null) return <Problem error={error} what="list of events" />;
  if (items === undefined) return <Loading what="events" />;
  const rows = items.filter(concerns).sort((a, b) => at(b).localeCompare(at(a)));
  if (rows.length === 0) return <Empty title="No events">{empty}</Empty>;
  return (
    <div className="kf-card">
      <Table.ScrollContainer type="native" minWidth={480}>
        <Table fz="sm" aria-label="Events">
          <Table.Thead><Table.Tr><Table.Th>When</Table.Th><Table.Th>Level</Table.Th><Table.Th>Reason</Table.Th><Table.Th>About</Table.Th><Table.Th>Message</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {rows.map((event) => (
              <Table.Tr key={event.metadata.uid}>
                <Table.Td><Age at={at(event)} /></Table.Td><Table.Td>{event.type}</Table.Td><Table.Td>{event.reason}{(event.count ?? 1) > 1 && ` (${event.count} times)`}</Table.Td>
                <Table.Td>{event.involvedObject?.kind} {event.involvedObject?.name}</Table.Td><Table.Td>{event.message}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </div>
  );
}
