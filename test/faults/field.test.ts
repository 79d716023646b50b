/** What field reports added to the 21 classes, on the stand-in's stage. */
import { fieldFaults } from './library.ts'
import { playAll } from './play.ts'
import { openStandIn } from './stand-in-stage.ts'

playAll('stand-in', async () => ({ open: openStandIn, close: async () => {} }), false, fieldFaults)
