// The first rows of a Parquet file by ranges: its end tells what lies where. The reader is a chunk of its own.
import type { AsyncBuffer } from 'hyparquet';
import { patient } from '../lib/chunk';
import { cellText, codecTrouble } from '../lib/parquet';
import { request } from './http';

/** The most bytes that a look may load: a file may hold its first rows in one large piece. */
const MOST = 64 * 1024 * 1024;

const reader = patient(() => import('hyparquet'));

export interface ParquetRows {
  columns: string[];
  rows: string[][];
  /** Of the whole file. */
  total: number;
}

export async function firstRows(url: string, byteLength: number, most: number, signal: AbortSignal): Promise<ParquetRows> {
  const { cachedAsyncBuffer, parquetMetadataAsync, parquetReadObjects, parquetSchema } = await reader();
  let loaded = 0;
  const source: AsyncBuffer = {
    byteLength,
    slice: async (start, end = byteLength) => {
      loaded += end - start;
      if (loaded > MOST) throw new Error('The first rows of this file lie in a piece that is too large for a preview.');
      return (await request(url, { signal, headers: { Range: `bytes=${start}-${end - 1}` } })).arrayBuffer();
    },
  };
  const file = cachedAsyncBuffer(source);
  const metadata = await parquetMetadataAsync(file);
  const trouble = codecTrouble(metadata.row_groups.flatMap((group) => group.columns.map((column) => column.meta_data?.codec ?? 'UNCOMPRESSED')));
  if (trouble !== undefined) throw new Error(trouble);
  const columns = parquetSchema(metadata).children.map((column) => column.element.name);
  const rows = await parquetReadObjects({ file, metadata, rowStart: 0, rowEnd: most, useOffsetIndex: true, utf8: false });
  return { columns, rows: rows.map((row) => columns.map((column) => cellText(row[column]))), total: Number(metadata.num_rows) };
}
