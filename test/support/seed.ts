/** The same inputs in every run: a red property test tells of a change. `npm run test:fire` draws new ones. */
import fc from 'fast-check'

fc.configureGlobal({ seed: 20261122 })
