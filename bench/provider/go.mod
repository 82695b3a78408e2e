// The provider that is measured against: it must never be what limits a measurement.
module provider

go 1.25.0
