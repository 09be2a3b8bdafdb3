# What the TAP tests share: the simulator, a cluster with the extension, and processes.
package ClariTest;

use strict;
use warnings FATAL => 'all';

use ClariCluster;
use ClariProcesses;
use ClariSimulator;
use Exporter 'import';

our @EXPORT = (@ClariSimulator::EXPORT, @ClariCluster::EXPORT, @ClariProcesses::EXPORT);

1;
