// "Copy as" curl, kubectl or Python: what this page shows or did, as a command to run elsewhere.
import { ActionIcon, Button, Code, Group, Menu, Modal, Stack, Tooltip } from '@mantine/core';
import { useClipboard } from '@mantine/hooks';
import { IconBrandPython, IconCheck, IconChevronDown, IconCopy, IconTerminal2 } from '@tabler/icons-react';
import { useState } from 'react';

export interface Snippet {
  label: string;
  kind: 'curl' | 'kubectl' | 'python';
  text: string;
}

export function CopyButton({ text, label = 'Copy' }: { text: string; label?: string }) {
  const { copy, copied } = useClipboard();
  return (
    <Tooltip label={copied ? 'Copied' : label}>
      <ActionIcon onClick={() => copy(text)} aria-label={copied ? 'Copied' : label} size="sm">
        {copied ? <IconCheck size={14} aria-hidden /> : <IconCopy size={14} aria-hidden />}
      </ActionIcon>
    </Tooltip>
  );
}

/** A button of a toolbar; the pointer shows what will be copied when that is short. */
export function CopyTextButton({ text, label }: { text: string; label: string }) {
  const { copy, copied } = useClipboard();
  return (
    <Button size="compact-xs" variant="default" leftSection={<IconCopy size={13} aria-hidden />} title={text.length < 200 ? text : undefined} onClick={() => copy(text)}>
      {copied ? 'Copied' : label}
    </Button>
  );
}

/** The clipboard is not always allowed (plain http on another host): the text is shown too. */
export function CopyAs({ snippets, onShow }: { snippets: Snippet[]; onShow?: (open: boolean) => void }) {
  const [shown, setShown] = useState<Snippet>();
  const [open, setOpen] = useState(false);
  const show = (next: boolean) => {
    setOpen(next);
    onShow?.(next);
  };
  const { copy, copied } = useClipboard();
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>
          <Button variant="default" rightSection={<IconChevronDown size={14} aria-hidden />}>Copy as</Button>
        </Menu.Target>
        <Menu.Dropdown>
          {snippets.map((snippet) => (
            <Menu.Item
              key={snippet.label}
              leftSection={snippet.kind === 'python' ? <IconBrandPython size={15} aria-hidden /> : <IconTerminal2 size={15} aria-hidden />}
              onClick={() => {
                copy(snippet.text);
                setShown(snippet);
                show(true);
              }}
            >
              {snippet.label}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
      <Modal opened={open} onClose={() => show(false)} title={shown?.label} size="xl" closeButtonProps={{ 'aria-label': 'Close' }}>
        <Stack gap="sm">
          <Code block style={{ maxHeight: '50vh' }} tabIndex={0}>{shown?.text}</Code>
          <Group justify="flex-end">
            <Button variant="default" onClick={() => copy(shown?.text ?? '')}>{copied ? 'Copied' : 'Copy again'}</Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}
