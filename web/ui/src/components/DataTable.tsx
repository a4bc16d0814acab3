// Every list of the box: sortable, paged, selectable; sort and page live in the URL, given and taken through props.
// It holds all rows and cuts them itself, or is given one page that the box has sorted and cut.
import { ActionIcon, Box, Checkbox, Group, Table, Text } from '@mantine/core';
import { IconArrowDown, IconArrowUp, IconArrowsSort, IconChevronLeft, IconChevronRight, IconChevronsLeft } from '@tabler/icons-react';
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
  /** Where the page begins, when the box cuts: the token that the one before ended with. */
  after?: string;
}

/** Rows that are one page of more, sorted and cut by the box. */
export interface Remote {
  total: number;
  /** The token of the next page; none: this is the last. */
  next?: string;
}

/** Which token a page was reached from: tokens lead forwards only. */
const cameFrom = new Map<string, string | undefined>();

interface Props<T> {
  label: string;
  rows: T[];
  columns: Column<T>[];
  rowId: (row: T) => string;
  view: TableView;
  defaultSort: string;
  onView: (view: TableView) => void;
  pageSize?: number;
  remote?: Remote;
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
  label, rows, columns, rowId, view, defaultSort, onView, pageSize = 50, remote, empty, bulk, rowLabel,
}: Props<T>) {
  const sort = view.sort ?? defaultSort;
  const sorting = useMemo(() => [{ id: sort.replace(/^-/, ''), desc: sort.startsWith('-') }], [sort]);
  const total = remote?.total ?? rows.length;
  const pages = Math.max(1, Math.ceil(total / pageSize));
  const page = remote === undefined ? Math.min(Math.max(1, view.page ?? 1), pages) : view.after === undefined ? 1 : (view.page ?? 2);
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
    manualSorting: remote !== undefined,
    manualPagination: remote !== undefined,
  });

  const visible = table.getRowModel().rows;
  const selected = bulk === undefined ? [] : rows.filter((row) => rowSelection[rowId(row)] === true);
  const allHere = visible.length > 0 && visible.every((row) => row.getIsSelected());
  const someHere = visible.some((row) => row.getIsSelected());
  const toggleSort = (id: string) => onView({ ...view, sort: sort === id ? `-${id}` : id, page: undefined, after: undefined });
  const from = (page - 1) * pageSize;

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
      {(pages > 1 || page > 1) && (
        <Group justify="space-between" className={classes.pager} component="nav" aria-label={`Pages of ${label.toLowerCase()}`}>
          <Text size="sm" c="dimmed" role="status">
            {visible.length === 0 ? 'None' : `${from + 1}–${from + visible.length}`} of {total}
          </Text>
          <Pager view={{ ...view, page }} pages={pages} remote={remote} onView={onView} />
        </Group>
      )}
    </Box>
  );
}

function Pager({ view, pages, remote, onView }: { view: TableView & { page: number }; pages: number; remote?: Remote; onView: (view: TableView) => void }) {
  const { page, after } = view;
  const last = remote === undefined ? page >= pages : remote.next === undefined;
  const back = page === 2 || after === undefined || cameFrom.has(after);
  const forward = () => {
    if (remote?.next !== undefined) cameFrom.set(remote.next, after);
    onView({ ...view, page: page + 1, after: remote?.next });
  };
  return (
    <Group gap={4}>
      <ActionIcon aria-label="First page" disabled={page <= 1} onClick={() => onView({ ...view, page: undefined, after: undefined })}>
        <IconChevronsLeft size={16} aria-hidden />
      </ActionIcon>
      <ActionIcon
        aria-label="Previous page"
        disabled={page <= 1 || !back}
        onClick={() => onView({ ...view, page: page === 2 ? undefined : page - 1, after: after === undefined || page === 2 ? undefined : cameFrom.get(after) })}
      >
        <IconChevronLeft size={16} aria-hidden />
      </ActionIcon>
      <Text size="sm">Page {page} of {Math.max(page, pages)}</Text>
      <ActionIcon aria-label="Next page" disabled={last} onClick={forward}>
        <IconChevronRight size={16} aria-hidden />
      </ActionIcon>
    </Group>
  );
}
