// Every list of the box: sortable, paged, selectable; sort and page live in the URL, given and taken through props.
import { ActionIcon, Box, Checkbox, Group, Table, Text } from '@mantine/core';
import { IconArrowDown, IconArrowUp, IconArrowsSort, IconChevronLeft, IconChevronRight } from '@tabler/icons-react';
import {
  createPaginatedRowModel,
  createSortedRowModel,
  rowPaginationFeature,
  rowSelectionFeature,
  rowSortingFeature,
  sortFn_alphanumeric,
  sortFn_basic,
  tableFeatures,
  useTable,
  type ColumnDef,
  type RowSelectionState,
} from '@tanstack/react-table';
import { useMemo, useState, type ReactNode } from 'react';
import classes from './DataTable.module.css';

export interface Column<T> {
  id: string;
  header: string;
  /** What it sorts by; a column without it is not sortable. */
  sortBy?: (row: T) => string | number;
  cell: (row: T) => ReactNode;
  width?: number | string;
  align?: 'right';
  /** Left out on narrow screens. */
  minor?: boolean;
}

export interface TableView {
  /** "name" ascending, "-name" descending. */
  sort?: string;
  /** From 1. */
  page?: number;
}

interface Props<T> {
  label: string;
  rows: T[];
  columns: Column<T>[];
  rowId: (row: T) => string;
  view: TableView;
  defaultSort: string;
  onView: (view: TableView) => void;
  pageSize?: number;
  empty: ReactNode;
  /** Bulk actions over what is selected; without it there are no checkboxes. */
  bulk?: (selected: T[], clear: () => void) => ReactNode;
  rowLabel?: (row: T) => string;
}

const features = tableFeatures({
  rowSortingFeature,
  rowPaginationFeature,
  rowSelectionFeature,
  sortedRowModel: createSortedRowModel(),
  paginatedRowModel: createPaginatedRowModel(),
  sortFns: { alphanumeric: sortFn_alphanumeric, basic: sortFn_basic },
});

export function DataTable<T extends object>({
  label, rows, columns, rowId, view, defaultSort, onView, pageSize = 50, empty, bulk, rowLabel,
}: Props<T>) {
  const sort = view.sort ?? defaultSort;
  const sorting = useMemo(() => [{ id: sort.replace(/^-/, ''), desc: sort.startsWith('-') }], [sort]);
  const pages = Math.max(1, Math.ceil(rows.length / pageSize));
  const page = Math.min(Math.max(1, view.page ?? 1), pages);
  const pagination = useMemo(() => ({ pageIndex: page - 1, pageSize }), [page, pageSize]);
  const [rowSelection, setRowSelection] = useState<RowSelectionState>({});

  const defs = useMemo<ColumnDef<typeof features, T>[]>(
    () =>
      columns.map((column) => ({
        id: column.id,
        header: column.header,
        accessorFn: column.sortBy ?? (() => ''),
        enableSorting: column.sortBy !== undefined,
        sortFn: 'alphanumeric' as const,
      })),
    [columns],
  );
  const table = useTable({
    features,
    columns: defs,
    data: rows,
    getRowId: rowId,
    state: { sorting, pagination, rowSelection },
    onRowSelectionChange: setRowSelection,
    autoResetPageIndex: false,
    enableSortingRemoval: false,
  });

  const visible = table.getRowModel().rows;
  const selected = bulk === undefined ? [] : rows.filter((row) => rowSelection[rowId(row)] === true);
  const allHere = visible.length > 0 && visible.every((row) => row.getIsSelected());
  const someHere = visible.some((row) => row.getIsSelected());
  const toggleSort = (id: string) => onView({ ...view, sort: sort === id ? `-${id}` : id, page: undefined });

  return (
    <Box className="kf-card">
      {selected.length > 0 && bulk !== undefined && (
        <Group className={classes.bulk} gap="sm" role="toolbar" aria-label="Actions on the selection">
          <Text size="sm" fw={500}>{selected.length} selected</Text>
          {bulk(selected, () => setRowSelection({}))}
        </Group>
      )}
      {rows.length === 0 ? (
        empty
      ) : (
        <Table.ScrollContainer type="native" minWidth={480}>
          <Table aria-label={label} className={classes.table} verticalSpacing={6} horizontalSpacing="sm" highlightOnHover>
            <Table.Thead>
              <Table.Tr>
                {bulk !== undefined && (
                  <Table.Th w={36}>
                    <Checkbox
                      size="xs"
                      aria-label="Select all rows of this page"
                      checked={allHere}
                      indeterminate={someHere && !allHere}
                      onChange={() => visible.forEach((row) => row.toggleSelected(!allHere))}
                    />
                  </Table.Th>
                )}
                {columns.map((column) => {
                  const active = sort.replace(/^-/, '') === column.id;
                  const desc = active && sort.startsWith('-');
                  const Icon = active ? (desc ? IconArrowDown : IconArrowUp) : IconArrowsSort;
                  return (
                    <Table.Th
                      key={column.id}
                      w={column.width}
                      ta={column.align}
                      className={column.minor ? classes.minor : undefined}
                      aria-sort={active ? (desc ? 'descending' : 'ascending') : undefined}
                    >
                      {column.sortBy === undefined ? (
                        column.header
                      ) : (
                        <button type="button" className={classes.sort} data-active={active || undefined} onClick={() => toggleSort(column.id)}>
                          {column.header}
                          <Icon size={13} stroke={1.8} aria-hidden />
                        </button>
                      )}
                    </Table.Th>
                  );
                })}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {visible.map((row) => (
                <Table.Tr key={row.id} data-selected={row.getIsSelected() || undefined}>
                  {bulk !== undefined && (
                    <Table.Td>
                      <Checkbox
                        size="xs"
                        aria-label={`Select ${rowLabel?.(row.original) ?? row.id}`}
                        checked={row.getIsSelected()}
                        onChange={() => row.toggleSelected()}
                      />
                    </Table.Td>
                  )}
                  {columns.map((column) => (
                    <Table.Td key={column.id} ta={column.align} className={column.minor ? classes.minor : undefined}>
                      {column.cell(row.original)}
                    </Table.Td>
                  ))}
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      {rows.length > pageSize && (
        <Group justify="space-between" className={classes.pager}>
          <Text size="sm" c="dimmed">
            {(page - 1) * pageSize + 1}–{Math.min(page * pageSize, rows.length)} of {rows.length}
          </Text>
          <Group gap={4}>
            <ActionIcon aria-label="Previous page" disabled={page <= 1} onClick={() => onView({ ...view, page: page - 1 })}>
              <IconChevronLeft size={16} aria-hidden />
            </ActionIcon>
            <Text size="sm">Page {page} of {pages}</Text>
            <ActionIcon aria-label="Next page" disabled={page >= pages} onClick={() => onView({ ...view, page: page + 1 })}>
              <IconChevronRight size={16} aria-hidden />
            </ActionIcon>
          </Group>
        </Group>
      )}
    </Box>
  );
}
