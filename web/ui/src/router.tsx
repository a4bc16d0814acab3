// All addresses of the UI. Every page but the shell is its own chunk; what a page shows is in its URL.
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from '@tanstack/react-router';
import { ApiError } from './api/http';
import { whoAmI } from './api/kfp';
import { queryClient } from './api/queryClient';
import { NotFound, RouteError } from './shell/Fallbacks';
import { Shell } from './shell/Shell';
import { patient } from './lib/chunk';

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : undefined;
const count = (value: unknown): number | undefined => (Number(value) >= 1 ? Math.floor(Number(value)) : undefined);
type Search = Record<string, unknown>;
/** Every search parameter may be left out of a link. */
const optional = <T extends object>(search: T): Partial<T> => search;

const list = (search: Search) => optional({ q: text(search.q), sort: text(search.sort), page: count(search.page) });

const runList = (search: Search) =>
  optional({ ...list(search), after: text(search.after), size: count(search.size), state: text(search.state), archived: search.archived === true || undefined });

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound, errorComponent: RouteError });

const login = createRoute({
  getParentRoute: () => root,
  path: '/login',
  validateSearch: (search: Search) => optional({ next: text(search.next) }),
  component: lazyRouteComponent(patient(() => import('./pages/Login')), 'Login'),
});

const app = createRoute({
  getParentRoute: () => root,
  id: 'app',
  component: Shell,
  beforeLoad: async ({ location }) => {
    try {
      await queryClient.ensureQueryData({ queryKey: ['whoami'], queryFn: whoAmI, staleTime: Infinity, retry: false });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        throw redirect({ to: '/login', search: { next: location.href === '/' ? undefined : location.href } });
      }
      // A silent box is no reason to log out: the pages say so and come back by themselves.
    }
  },
});

const home = createRoute({
  getParentRoute: () => app,
  path: '/',
  component: lazyRouteComponent(patient(() => import('./pages/Home')), 'Home'),
});
const pipelines = createRoute({
  getParentRoute: () => app,
  path: '/pipelines',
  validateSearch: (search: Search) => optional({ ...list(search), upload: search.upload === true || undefined }),
  component: lazyRouteComponent(patient(() => import('./pages/Pipelines')), 'Pipelines'),
});
const pipeline = createRoute({
  getParentRoute: () => app,
  path: '/pipelines/$pipelineId',
  validateSearch: (search: Search) => optional({ version: text(search.version), tab: text(search.tab) }),
  component: lazyRouteComponent(patient(() => import('./pages/PipelinePage')), 'PipelinePage'),
});
const runs = createRoute({
  getParentRoute: () => app,
  path: '/runs',
  validateSearch: (search: Search) => optional({ ...runList(search), experiment: text(search.experiment) }),
  component: lazyRouteComponent(patient(() => import('./pages/Runs')), 'Runs'),
});
const newRun = createRoute({
  getParentRoute: () => app,
  path: '/runs/new',
  validateSearch: (search: Search) => optional({
    pipeline: text(search.pipeline),
    version: text(search.version),
    experiment: text(search.experiment),
    clone: text(search.clone),
  }),
  component: lazyRouteComponent(patient(() => import('./pages/NewRun')), 'NewRun'),
});
const run = createRoute({
  getParentRoute: () => app,
  path: '/runs/$runId',
  validateSearch: (search: Search) => optional({
    tab: text(search.tab),
    task: text(search.task),
    panel: text(search.panel),
    view: text(search.view),
  }),
  component: lazyRouteComponent(patient(() => import('./pages/RunPage')), 'RunPage'),
});
const experiments = createRoute({
  getParentRoute: () => app,
  path: '/experiments',
  validateSearch: (search: Search) => optional({ ...list(search), archived: search.archived === true || undefined }),
  component: lazyRouteComponent(patient(() => import('./pages/Experiments')), 'Experiments'),
});
const experiment = createRoute({
  getParentRoute: () => app,
  path: '/experiments/$experimentId',
  validateSearch: runList,
  component: lazyRouteComponent(patient(() => import('./pages/ExperimentPage')), 'ExperimentPage'),
});
const jobs = createRoute({
  getParentRoute: () => app,
  path: '/jobs',
  validateSearch: (search: Search) => optional({ ...list(search), ns: text(search.ns), kind: text(search.kind), state: text(search.state) }),
  component: lazyRouteComponent(patient(() => import('./pages/Jobs')), 'Jobs'),
});
const newJob = createRoute({
  getParentRoute: () => app,
  path: '/jobs/new',
  validateSearch: (search: Search) => optional({ ns: text(search.ns), example: text(search.example), clone: text(search.clone) }),
  component: lazyRouteComponent(patient(() => import('./pages/NewJob')), 'NewJob'),
});
const job = createRoute({
  getParentRoute: () => app,
  path: '/jobs/$ns/$plural/$name',
  validateSearch: (search: Search) => optional({ tab: text(search.tab), pod: text(search.pod), edit: search.edit === true || undefined }),
  component: lazyRouteComponent(patient(() => import('./pages/JobPage')), 'JobPage'),
});
const notebooks = createRoute({
  getParentRoute: () => app,
  path: '/notebooks',
  validateSearch: (search: Search) => optional({ ...list(search), ns: text(search.ns), state: text(search.state) }),
  component: lazyRouteComponent(patient(() => import('./pages/Notebooks')), 'Notebooks'),
});
const newNotebook = createRoute({
  getParentRoute: () => app,
  path: '/notebooks/new',
  validateSearch: (search: Search) => optional({ ns: text(search.ns) }),
  component: lazyRouteComponent(patient(() => import('./pages/NewNotebook')), 'NewNotebook'),
});
const notebook = createRoute({
  getParentRoute: () => app,
  path: '/notebooks/$ns/$name',
  validateSearch: (search: Search) => optional({ tab: text(search.tab), edit: search.edit === true || undefined }),
  component: lazyRouteComponent(patient(() => import('./pages/NotebookPage')), 'NotebookPage'),
});
const volumes = createRoute({
  getParentRoute: () => app,
  path: '/volumes',
  validateSearch: (search: Search) => optional({ ...list(search), ns: text(search.ns) }),
  component: lazyRouteComponent(patient(() => import('./pages/Volumes')), 'Volumes'),
});
const buckets = createRoute({
  getParentRoute: () => app,
  path: '/buckets',
  validateSearch: (search: Search) => optional({ ...list(search), ns: text(search.ns) }),
  component: lazyRouteComponent(patient(() => import('./pages/Buckets')), 'Buckets'),
});
const bucket = createRoute({
  getParentRoute: () => app,
  path: '/buckets/$ns/$bucket',
  validateSearch: (search: Search) => optional({ prefix: text(search.prefix), after: text(search.after), object: text(search.object) }),
  component: lazyRouteComponent(patient(() => import('./pages/BucketPage')), 'BucketPage'),
});
const lineage = createRoute({
  getParentRoute: () => app,
  path: '/lineage',
  validateSearch: (search: Search) => optional({ ns: text(search.ns), of: text(search.of), direction: text(search.direction), node: text(search.node) }),
  component: lazyRouteComponent(patient(() => import('./pages/LineagePage')), 'LineagePage'),
});
const storage = createRoute({
  getParentRoute: () => app,
  path: '/storage',
  validateSearch: list,
  component: lazyRouteComponent(patient(() => import('./pages/Storage')), 'Storage'),
});
const datasets = createRoute({
  getParentRoute: () => app,
  path: '/datasets',
  validateSearch: (search: Search) => optional({ ...list(search), ns: text(search.ns) }),
  component: lazyRouteComponent(patient(() => import('./pages/Datasets')), 'Datasets'),
});
const dataset = createRoute({
  getParentRoute: () => app,
  path: '/datasets/$ns/$name',
  validateSearch: (search: Search) => optional({ ...list(search), branch: text(search.branch), tab: text(search.tab), from: text(search.from), to: text(search.to) }),
  component: lazyRouteComponent(patient(() => import('./pages/DatasetPage')), 'DatasetPage'),
});
const keys = createRoute({
  getParentRoute: () => app,
  path: '/keys',
  validateSearch: (search: Search) => optional({ ...list(search), ns: text(search.ns) }),
  component: lazyRouteComponent(patient(() => import('./pages/Keys')), 'Keys'),
});
const tracking = createRoute({
  getParentRoute: () => app,
  path: '/tracking',
  validateSearch: (search: Search) => optional({ ...list(search), ns: text(search.ns), archived: search.archived === true || undefined }),
  component: lazyRouteComponent(patient(() => import('./pages/Tracking')), 'Tracking'),
});
const trackedExperiment = createRoute({
  getParentRoute: () => app,
  path: '/tracking/$ns/experiments/$experimentId',
  validateSearch: (search: Search) => optional({ filter: text(search.filter), sort: text(search.sort), columns: text(search.columns), archived: search.archived === true || undefined }),
  component: lazyRouteComponent(patient(() => import('./pages/TrackedExperiment')), 'TrackedExperiment'),
});
const trackedRun = createRoute({
  getParentRoute: () => app,
  path: '/tracking/$ns/runs/$runId',
  validateSearch: (search: Search) => optional({ tab: text(search.tab) }),
  component: lazyRouteComponent(patient(() => import('./pages/TrackedRun')), 'TrackedRun'),
});
const compareRuns = createRoute({
  getParentRoute: () => app,
  path: '/tracking/$ns/compare',
  validateSearch: (search: Search) => optional({ runs: text(search.runs) }),
  component: lazyRouteComponent(patient(() => import('./pages/CompareRuns')), 'CompareRuns'),
});
const models = createRoute({
  getParentRoute: () => app,
  path: '/models',
  validateSearch: (search: Search) => optional({ ...list(search), ns: text(search.ns), archived: search.archived === true || undefined }),
  component: lazyRouteComponent(patient(() => import('./pages/Models')), 'Models'),
});
const model = createRoute({
  getParentRoute: () => app,
  path: '/models/$ns/$name',
  validateSearch: list,
  component: lazyRouteComponent(patient(() => import('./pages/ModelPage')), 'ModelPage'),
});
const docs = createRoute({
  getParentRoute: () => app,
  path: '/docs',
  component: lazyRouteComponent(patient(() => import('./pages/Docs')), 'Docs'),
});

export const router = createRouter({
  routeTree: root.addChildren([
    login,
    app.addChildren([home, pipelines, pipeline, runs, newRun, run, experiments, experiment, jobs, newJob, job, notebooks, newNotebook, notebook, volumes, buckets, bucket, keys, storage, lineage, datasets, dataset, tracking, trackedExperiment, trackedRun, compareRuns, models, model, docs]),
  ]),
  defaultPreload: 'intent',
  defaultPendingMs: 300,
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
