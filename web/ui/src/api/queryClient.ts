// The one query cache. Lists are kept fresh by watches, so nothing refetches on its own.
import { QueryClient } from '@tanstack/react-query';
import { ApiError } from './http';

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 30_000,
      refetchOnWindowFocus: false,
      // An answer that is an answer (404, 400) will not change by asking again; a silent box may come back.
      retry: (count, error) => count < 4 && error instanceof ApiError && (error.unreachable || error.status >= 500),
      retryDelay: (attempt) => Math.min(8_000, 500 * 2 ** attempt),
    },
  },
});
