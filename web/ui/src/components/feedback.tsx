// Toasts for what an action did, and one dialog for actions that cannot be undone.
import { Button, Group, Modal, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { createContext, useCallback, useContext, useMemo, useState, type ReactNode } from 'react';

export function toastDone(message: string): void {
  notifications.show({ message, color: 'green', autoClose: 4000 });
}

export function toastError(title: string, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  notifications.show({ title, message, color: 'red', autoClose: 10_000 });
}

/** Runs an action and says how it went. Resolves to false when it failed. */
export async function attempt(action: () => Promise<unknown>, done: string, failed: string): Promise<boolean> {
  try {
    await action();
    toastDone(done);
    return true;
  } catch (error) {
    toastError(failed, error);
    return false;
  }
}

interface Question {
  title: string;
  body: string;
  confirm: string;
}
type Ask = (question: Question) => Promise<boolean>;

const AskContext = createContext<Ask>(() => Promise.resolve(false));
export const useConfirm = (): Ask => useContext(AskContext);

export function ConfirmProvider({ children }: { children: ReactNode }) {
  const [open, setOpen] = useState<{ question: Question; answer: (yes: boolean) => void }>();
  const [shown, setShown] = useState(false);
  const ask = useCallback<Ask>(
    (question) =>
      new Promise((resolve) => {
        setOpen({ question, answer: resolve });
        setShown(true);
      }),
    [],
  );
  const answer = (yes: boolean) => {
    open?.answer(yes);
    setShown(false);
  };
  const value = useMemo(() => ask, [ask]);
  return (
    <AskContext.Provider value={value}>
      {children}
      <Modal
        opened={shown}
        onClose={() => answer(false)}
        title={open?.question.title}
        closeButtonProps={{ 'aria-label': 'Close' }}
        size="md"
      >
        <Text size="sm" mb="lg">{open?.question.body}</Text>
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={() => answer(false)} data-autofocus>Cancel</Button>
          <Button color="red.9" onClick={() => answer(true)}>{open?.question.confirm}</Button>
        </Group>
      </Modal>
    </AskContext.Provider>
  );
}
