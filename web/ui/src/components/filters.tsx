// The filters that lists share: by name, and what is in use or put away.
import { CloseButton, SegmentedControl, TextInput } from '@mantine/core';
import { IconSearch } from '@tabler/icons-react';

export function NameFilter({ value, onChange, placeholder = 'Filter by name' }: { value?: string; onChange: (value: string | undefined) => void; placeholder?: string }) {
  return (
    <TextInput
      aria-label="Filter by name"
      placeholder={placeholder}
      leftSection={<IconSearch size={14} aria-hidden />}
      value={value ?? ''}
      onChange={(event) => onChange(event.currentTarget.value || undefined)}
      rightSection={value === undefined ? null : <CloseButton size="sm" aria-label="Clear the filter" onClick={() => onChange(undefined)} />}
      w={240}
    />
  );
}

export function StorageFilter({ archived = false, onChange }: { archived?: boolean; onChange: (archived: true | undefined) => void }) {
  return (
    <SegmentedControl
      aria-label="Active or archived"
      value={archived ? 'archived' : 'active'}
      onChange={(next) => onChange(next === 'archived' || undefined)}
      data={[{ value: 'active', label: 'Active' }, { value: 'archived', label: 'Archived' }]}
    />
  );
}
