// An object at the side of its folder: what is known of it, how to get it, and a look into it. Content never runs here.
import { Anchor, Code, Drawer, Group, Stack, Table, Text } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { request } from '../api/http';
import { s3 } from '../api/s3';
import { bytes, dateTime } from '../lib/format';
import { objectUrl, previewOf, rowsOf } from '../lib/s3';
import { CopyButton } from './CopyAs';
import { ErrorNote } from './ErrorNote';
import { Loading } from './Page';

/** How much of a text is looked at. */
const BEGINNING = 64 * 1024;
const ROWS = 200;

interface Props {
  ns: string;
  bucket: string;
  /** None: closed. */
  objectKey?: string;
  onClose: () => void;
}

export function ObjectDrawer({ ns, bucket, objectKey, onClose }: Props) {
  return (
    <Drawer opened={objectKey !== undefined} onClose={onClose} position="right" size="lg" title={objectKey?.split('/').pop()} closeButtonProps={{ 'aria-label': 'Close' }}>
      {objectKey !== undefined && <About ns={ns} bucket={bucket} objectKey={objectKey} />}
    </Drawer>
  );
}

function About({ ns, bucket, objectKey }: Required<Omit<Props, 'onClose'>>) {
  const url = objectUrl(ns, bucket, objectKey);
  const { data, error } = useQuery({
    queryKey: ['object', url],
    queryFn: async ({ signal }) => (await request(url, { method: 'HEAD', signal })).headers,
  });
  if (error !== null) return <ErrorNote>{error.message}</ErrorNote>;
  if (data === undefined) return <Loading what="the object" />;
  const modified = data.get('last-modified');
  const facts: [string, string | null][] = [
    ['Size', bytes(Number(data.get('content-length') ?? 0))],
    ['Type', data.get('content-type')],
    ['Modified', modified === null ? null : dateTime(modified)],
    ['ETag', data.get('etag')?.replaceAll('"', '') ?? null],
    ['Version', data.get('x-amz-version-id')],
    ...[...data.entries()].filter(([name]) => name.startsWith('x-amz-meta-')).map(([name, value]): [string, string] => [name.replace('x-amz-meta-', ''), value]),
  ];
  const uri = `s3://${bucket}/${objectKey}`;
  return (
    <Stack gap="sm">
      <Group gap={4} wrap="nowrap">
        <Code style={{ overflowWrap: 'anywhere' }}>{uri}</Code>
        <CopyButton text={uri} label="Copy the URI" />
      </Group>
      <Anchor href={`${url}?response-content-disposition=attachment`} download size="sm">
        <IconDownload size={14} aria-hidden style={{ verticalAlign: -2 }} /> Download
      </Anchor>
      <Table withTableBorder verticalSpacing={4} aria-label="About the object">
        <Table.Tbody>
          {facts.filter(([, value]) => value !== null && value !== '').map(([name, value]) => (
            <Table.Tr key={name}>
              <Table.Th scope="row" fw={500} w={110}>{name}</Table.Th>
              <Table.Td style={{ overflowWrap: 'anywhere' }}>{value}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Look ns={ns} bucket={bucket} objectKey={objectKey} />
    </Stack>
  );
}

function Look({ ns, bucket, objectKey }: Required<Omit<Props, 'onClose'>>) {
  const view = previewOf(objectKey);
  const url = objectUrl(ns, bucket, objectKey);
  const { data, error } = useQuery({
    queryKey: ['beginning', url],
    queryFn: ({ signal }) => s3.head(ns, bucket, objectKey, BEGINNING, signal),
    enabled: view === 'text' || view === 'table',
  });
  if (view === undefined) return <Text size="sm" c="dimmed">There is no preview of this kind of file.</Text>;
  if (view === 'image') return <img src={url} alt={objectKey} style={{ maxWidth: '100%' }} />;
  if (error !== null) return <ErrorNote>{error.message}</ErrorNote>;
  if (data === undefined) return <Loading what="the preview" />;
  const cut = data.whole ? null : <Text size="xs" c="dimmed">The first {bytes(BEGINNING)} are shown.</Text>;
  if (view === 'text') {
    return (
      <Stack gap={4}>
        <Code block tabIndex={0} aria-label="Preview" style={{ maxHeight: '60vh' }}>{data.text}</Code>
        {cut}
      </Stack>
    );
  }
  const [head = [], ...rows] = rowsOf(data.text, ROWS + 1, data.whole);
  return (
    <Stack gap={4}>
      <Table.ScrollContainer type="native" minWidth={200} maxHeight="60vh">
        <Table withTableBorder verticalSpacing={2} aria-label="Preview">
          <Table.Thead><Table.Tr>{head.map((cell, i) => <Table.Th key={i}>{cell}</Table.Th>)}</Table.Tr></Table.Thead>
          <Table.Tbody>{rows.map((row, n) => <Table.Tr key={n}>{row.map((cell, i) => <Table.Td key={i}>{cell}</Table.Td>)}</Table.Tr>)}</Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {rows.length >= ROWS ? <Text size="xs" c="dimmed">The first {ROWS} rows are shown.</Text> : cut}
    </Stack>
  );
}
