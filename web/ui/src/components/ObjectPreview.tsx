// A look into an object: a picture, the beginning of a text, the first rows of a table. Content never runs here.
import { Code, Stack, Table, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { firstRows } from '../api/parquet';
import { s3 } from '../api/s3';
import { bytes } from '../lib/format';
import { objectUrl, previewOf, rowsOf, separatorOf } from '../lib/s3';
import { ErrorNote } from './ErrorNote';
import { Loading } from './Page';

/** How much of a text is looked at. */
const BEGINNING = 64 * 1024;
const ROWS = 200;

interface Props {
  ns: string;
  bucket: string;
  objectKey: string;
  size: number;
  /** What tells this content from another of the same key. */
  etag: string;
}

export function ObjectPreview(props: Props) {
  const { ns, bucket, objectKey, etag } = props;
  switch (previewOf(objectKey)) {
    case 'image':
      // A browser keeps a picture by its address: another content needs another one. The box does not look at it.
      return <img src={`${objectUrl(ns, bucket, objectKey)}?etag=${encodeURIComponent(etag)}`} alt={objectKey} style={{ maxWidth: '100%' }} />;
    case 'parquet':
      return <Parquet {...props} />;
    case undefined:
      return <Text size="sm" c="dimmed">There is no preview of this kind of file.</Text>;
    default:
      return <Beginning {...props} />;
  }
}

function Beginning({ ns, bucket, objectKey, etag }: Props) {
  const { data, error } = useQuery({
    queryKey: ['object', ns, bucket, objectKey, 'beginning', etag],
    queryFn: ({ signal }) => s3.head(ns, bucket, objectKey, BEGINNING, signal),
  });
  if (error !== null) return <ErrorNote>{error.message}</ErrorNote>;
  if (data === undefined) return <Loading what="the preview" />;
  const cut = data.whole ? undefined : `The first ${bytes(BEGINNING)} are shown.`;
  if (previewOf(objectKey) === 'text') {
    return (
      <Stack gap={4}>
        <Code block tabIndex={0} aria-label="Preview" style={{ maxHeight: '60vh' }}>{data.text}</Code>
        {cut !== undefined && <Text size="xs" c="dimmed">{cut}</Text>}
      </Stack>
    );
  }
  const [head = [], ...rows] = rowsOf(data.text, separatorOf(objectKey, data.text), ROWS + 1, data.whole);
  return <Rows head={head} rows={rows} said={rows.length >= ROWS ? `The first ${ROWS} rows are shown.` : cut} />;
}

function Parquet({ ns, bucket, objectKey, size, etag }: Props) {
  const { data, error } = useQuery({
    queryKey: ['object', ns, bucket, objectKey, 'rows', etag],
    queryFn: ({ signal }) => firstRows(objectUrl(ns, bucket, objectKey), size, ROWS, signal),
  });
  if (error !== null) return <ErrorNote>{error.message}</ErrorNote>;
  if (data === undefined) return <Loading what="the preview" />;
  return <Rows head={data.columns} rows={data.rows} said={data.total > data.rows.length ? `The first ${data.rows.length} of ${data.total} rows are shown.` : undefined} />;
}

function Rows({ head, rows, said }: { head: string[]; rows: string[][]; said?: string }) {
  return (
    <Stack gap={4}>
      <Table.ScrollContainer type="native" minWidth={200} maxHeight="60vh" tabIndex={0} role="region" aria-label="Rows">
        <Table withTableBorder verticalSpacing={2} aria-label="Preview">
          <Table.Thead><Table.Tr>{head.map((cell, i) => <Table.Th key={i}>{cell}</Table.Th>)}</Table.Tr></Table.Thead>
          <Table.Tbody>{rows.map((row, n) => <Table.Tr key={n}>{row.map((cell, i) => <Table.Td key={i}>{cell}</Table.Td>)}</Table.Tr>)}</Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {said !== undefined && <Text size="xs" c="dimmed">{said}</Text>}
    </Stack>
  );
}
