/** Preloaded: this process finds no /proc, as on a Mac, and asks ps and lsof. */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const { existsSync } = fs
fs.existsSync = (path) => path !== '/proc/self/stat' && existsSync(path)
syncBuiltinESMExports()
