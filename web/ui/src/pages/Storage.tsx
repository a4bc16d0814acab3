// What fills the disk: the parts of the box's own folder, the engine's images, and the buckets with their limits.
import { Button, Group, Modal, NumberInput, Progress, Stack, Table, Text, Title } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { storage, type BucketUse, type StorageReport } from '../api/storage';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { toastDone } from '../components/feedback';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { bytes } from '../lib/format';

const route = getRouteApi('/app/storage');
const GIB = 2 ** 30;
const percent = (part: number, whole: number): number => (whole === 0 ? 0 : Math.min(100, (part / whole) * 100));

export function Storage() {
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/storage' });
  const client = useQueryClient();
  const [limiting, setLimiting] = useState<BucketUse>();
  const { data, error, refetch } = useQuery({ queryKey: ['storage'], queryFn: ({ signal }) => storage.report(signal), refetchInterval: 30_000 });
  const admin = data?.disk !== undefined;
  const columns: Column<BucketUse>[] = [
    { id: 'name', header: 'Bucket', sortBy: (each) => each.name, cell: (each) => <Link to="/buckets/$ns/$bucket" params={{ ns: each.namespace, bucket: each.name }} className="kf-link">{each.name}</Link> },
    { id: 'namespace', header: 'Namespace', sortBy: (each) => each.namespace, cell: (each) => each.namespace, width: 160, minor: true },
    { id: 'bytes', header: 'Holds', sortBy: (each) => each.bytes, cell: (each) => bytes(each.bytes), width: 120, align: 'right' },
    {
      id: 'quota',
      header: 'Of at most',
      sortBy: (each) => each.quota,
      cell: (each) => (each.quota === 0 ? 'No limit' : (
        <Stack gap={2}>
          <span>{bytes(each.quota)}</span>
          <Progress value={percent(each.bytes, each.quota)} color={each.bytes >= each.quota ? 'red' : undefined} aria-label={`${each.name} is filled to ${Math.round(percent(each.bytes, each.quota))} %`} />
        </Stack>
      )),
      width: 160,
    },
    ...(admin ? [{ id: 'actions', header: 'Actions', cell: (each: BucketUse) => <Button size="compact-xs" variant="default" aria-label={`Limit ${each.name}`} onClick={() => setLimiting(each)}>Limit…</Button>, width: 90 }] : []),
  ];
  return (
    <Page title="Storage" subtitle="What fills the disk of the box.">
      {error !== null ? <Problem error={error} what="use of the disk" onRetry={() => void refetch()} /> : data === undefined ? <Loading what="the sizes" /> : (
        <>
          {data.disk !== undefined && <Disk disk={data.disk} />}
          <DataTable
            label="Buckets by size"
            rows={data.buckets}
            columns={columns}
            rowId={(each) => each.name}
            view={{ sort: search.sort, page: search.page }}
            defaultSort="-bytes"
            onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
            empty={<Empty title="No buckets" />}
          />
        </>
      )}
      <Modal opened={limiting !== undefined} onClose={() => setLimiting(undefined)} title={`How much ${limiting?.name} may hold`} closeButtonProps={{ 'aria-label': 'Close' }}>
        {limiting !== undefined && <Limit bucket={limiting} onClose={() => setLimiting(undefined)} onDone={() => client.invalidateQueries({ queryKey: ['storage'] })} />}
      </Modal>
    </Page>
  );
}

function Disk({ disk }: { disk: NonNullable<StorageReport['disk']> }) {
  const used = disk.total - disk.free;
  const parts = [...disk.parts, ...(disk.images === undefined ? [] : [{ path: 'Docker', about: 'images; layers that several share are counted for each', bytes: disk.images }])];
  return (
    <section className="kf-card" style={{ padding: 12 }} aria-label="The disk">
      <Title order={2} mb="xs">{bytes(disk.free)} of {bytes(disk.total)} are free</Title>
      <Progress value={percent(used, disk.total)} color={disk.free < disk.total / 10 ? 'red' : undefined} aria-label={`The disk is filled to ${Math.round(percent(used, disk.total))} %`} mb="sm" />
      <Table verticalSpacing={4} aria-label="Parts of the disk">
        <Table.Thead><Table.Tr><Table.Th>Where</Table.Th><Table.Th>What</Table.Th><Table.Th ta="right">Size</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>
          {parts.sort((a, b) => b.bytes - a.bytes).map((part) => (
            <Table.Tr key={part.path}><Table.Td className="kf-mono">{part.path}</Table.Td><Table.Td>{part.about}</Table.Td><Table.Td ta="right">{bytes(part.bytes)}</Table.Td></Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  );
}

function Limit({ bucket, onClose, onDone }: { bucket: BucketUse; onClose: () => void; onDone: () => Promise<void> }) {
  const [gib, setGib] = useState<number | string>(bucket.quota === 0 ? '' : bucket.quota / GIB);
  const [error, setError] = useState<string>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await storage.setQuota(bucket.namespace, bucket.name, Math.round(Number(gib) * GIB));
      await onDone();
      toastDone(Number(gib) === 0 ? `${bucket.name} has no limit.` : `${bucket.name} may hold ${gib} GiB.`);
      onClose();
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <NumberInput label="GiB" description="Empty or 0: no limit. What is there already stays." min={0} value={gib} onChange={setGib} data-autofocus />
        <Text size="xs" c="dimmed">Uploads over S3 that would go beyond it are refused. What steps leave counts, too, and is not refused.</Text>
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit">Save</Button>
        </Group>
      </Stack>
    </form>
  );
}
