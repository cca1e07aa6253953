# What the rules of variables.tf look values up in.

locals {
  # Microsoft Learn, "Resolve errors for reserved resource names": what no name of a resource with an address may be.
  reserved_words = jsondecode(file("${path.module}/../reserved-words.json"))

  # What the app's settings are called: one of them in another case would be refused by Azure.
  app_settings = jsondecode(file("${path.module}/../app-settings.json"))

  # A field of a schedule as the host's timer reads it: seconds, minutes, hours, days, months, days of the week.
  cron = [
    "^([*]|([0-5]?[0-9])(-([0-5]?[0-9]))?)(/([1-9]|[1-5][0-9]))?(,([*]|([0-5]?[0-9])(-([0-5]?[0-9]))?)(/([1-9]|[1-5][0-9]))?)*$",
    "^([*]|([0-5]?[0-9])(-([0-5]?[0-9]))?)(/([1-9]|[1-5][0-9]))?(,([*]|([0-5]?[0-9])(-([0-5]?[0-9]))?)(/([1-9]|[1-5][0-9]))?)*$",
    "^([*]|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/([1-9]|1[0-9]|2[0-3]))?(,([*]|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/([1-9]|1[0-9]|2[0-3]))?)*$",
    "^([*]|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/([1-9]|[12][0-9]|3[01]))?(,([*]|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/([1-9]|[12][0-9]|3[01]))?)*$",
    "^([*]|(0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)(-(0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC))?)(/([1-9]|1[0-2]))?(,([*]|(0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)(-(0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC))?)(/([1-9]|1[0-2]))?)*$",
    "^([*]|(0?[0-6]|SUN|MON|TUE|WED|THU|FRI|SAT)(-(0?[0-6]|SUN|MON|TUE|WED|THU|FRI|SAT))?)(/([1-7]))?(,([*]|(0?[0-6]|SUN|MON|TUE|WED|THU|FRI|SAT)(-(0?[0-6]|SUN|MON|TUE|WED|THU|FRI|SAT))?)(/([1-7]))?)*$",
  ]
  cron_names = {
    JAN = 1, FEB = 2, MAR = 3, APR = 4, MAY = 5, JUN = 6, JUL = 7, AUG = 8, SEP = 9, OCT = 10, NOV = 11, DEC = 12
    SUN = 0, MON = 1, TUE = 2, WED = 3, THU = 4, FRI = 5, SAT = 6
  }
  cron_days = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}
