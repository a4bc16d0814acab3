// An object at the side of its folder: what is known of it, how to get it, and a look into it.
import { Anchor, Code, Drawer, Group, Stack, Table } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { request } from '../api/http';
import { bytes, dateTime } from '../lib/format';
import { objectUrl, previewOf, visible } from '../lib/s3';
import { pythonDownload, pythonTable } from '../lib/snippets';
import { CopyAs, CopyButton, type Snippet } from './CopyAs';
import { ErrorNote } from './ErrorNote';
import { ObjectPreview } from './ObjectPreview';
import { Loading } from './Page';

interface Props {
  ns: string;
  bucket: string;
  /** None: closed. */
  objectKey?: string;
  onClose: () => void;
}

export function ObjectDrawer({ ns, bucket, objectKey, onClose }: Props) {
  // Escape closes what lies on top, not this as well.
  const [covered, setCovered] = useState(false);
  return (
    <Drawer opened={objectKey !== undefined} onClose={onClose} closeOnEscape={!covered} position="right" size="lg" title={visible(objectKey?.split('/').pop() ?? '')} closeButtonProps={{ 'aria-label': 'Close' }}>
      {objectKey !== undefined && <About ns={ns} bucket={bucket} objectKey={objectKey} onCovered={setCovered} />}
    </Drawer>
  );
}

function snippets(ns: string, bucket: string, key: string): Snippet[] {
  const view = previewOf(key);
  const as = view === 'parquet' ? view : view !== 'table' ? undefined : /\.tsv$/i.test(key) ? 'tsv' : 'csv';
  return [
    { label: 'Python: download with boto3', kind: 'python', text: pythonDownload(ns, bucket, key) },
    ...(as === undefined ? [] : [{ label: 'Python: read with pandas', kind: 'python' as const, text: pythonTable(ns, bucket, key, as) }]),
  ];
}

function About({ ns, bucket, objectKey, onCovered }: Required<Omit<Props, 'onClose'>> & { onCovered: (covered: boolean) => void }) {
  const url = objectUrl(ns, bucket, objectKey);
  const { data, error } = useQuery({
    queryKey: ['object', ns, bucket, objectKey],
    queryFn: async ({ signal }) => (await request(url, { method: 'HEAD', signal })).headers,
    // Every S3 client may have written it since.
    staleTime: 0,
    refetchOnWindowFocus: true,
  });
  if (error !== null) return <ErrorNote>{error.message}</ErrorNote>;
  if (data === undefined) return <Loading what="the object" />;
  const modified = data.get('last-modified');
  const size = Number(data.get('content-length') ?? 0);
  const etag = data.get('etag')?.replaceAll('"', '') ?? '';
  const facts: [string, string | null][] = [
    ['Size', bytes(size)],
    ['Type', data.get('content-type')],
    ['Modified', modified === null ? null : dateTime(modified)],
    ['ETag', etag],
    ['Version', data.get('x-amz-version-id')],
    ...[...data.entries()].filter(([name]) => name.startsWith('x-amz-meta-')).map(([name, value]): [string, string] => [name.replace('x-amz-meta-', ''), value]),
  ];
  return (
    <Stack gap="sm">
      {['s3', 'minio'].map((scheme) => (
        <Group key={scheme} gap={4} wrap="nowrap">
          <Code style={{ overflowWrap: 'anywhere' }}>{visible(`${scheme}://${bucket}/${objectKey}`)}</Code>
          <CopyButton text={`${scheme}://${bucket}/${objectKey}`} label={`Copy the ${scheme} URI`} />
        </Group>
      ))}
      <Group justify="space-between">
        <Anchor href={`${url}?response-content-disposition=attachment`} download size="sm">
          <IconDownload size={14} aria-hidden style={{ verticalAlign: -2 }} /> Download
        </Anchor>
        <CopyAs snippets={snippets(ns, bucket, objectKey)} onShow={onCovered} />
      </Group>
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
      <ObjectPreview ns={ns} bucket={bucket} objectKey={objectKey} size={size} etag={etag} />
    </Stack>
  );
}
